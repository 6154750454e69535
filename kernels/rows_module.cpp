#include <memory>
#include <optional>

#include "bindings.hpp"
#include "rows.hpp"

namespace {

using Matrix = nb::ndarray<nb::ro, nb::ndim<2>, nb::device::cpu>;
using Levels = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Square = nb::ndarray<double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

SymmetricUpdate symmetric_update = nullptr;

void expect(bool holds, const char* what) {
    if (!holds) throw nb::value_error(what);
}

// Some rows, which keep the arrays that they are stored in.
class Rows {
   public:
    Rows(Matrix dense, Vector shift, Vector scale, bool intercept, int entries, Matrix codes, Levels levels)
        : dense_(dense), shift_(shift), scale_(scale), codes_(codes), levels_(levels) {
        const auto real = static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float);
        expect(dense.dtype().code == real && (dense.dtype().bits == 32 || dense.dtype().bits == 64),
               "dense columns are float32 or float64");
        expect(shift.shape(0) == dense.shape(0) && scale.shape(0) == dense.shape(0), "a shift and a scale a column");
        expect(codes.shape(1) == dense.shape(1), "codes for each row");
        expect(levels.shape(0) == codes.shape(0), "the levels of each group");
        expect(codes.dtype().code != real, "codes are integers");
        expect(entries >= 0 && entries <= 2, "entries are as they are, absolute or squared");
        rows_ = {static_cast<std::ptrdiff_t>(dense.shape(1)),
                 dense.data(),
                 dense.dtype().bits == 32,
                 static_cast<std::ptrdiff_t>(dense.shape(0)),
                 dense.stride(1),
                 dense.stride(0),
                 shift.data(),
                 scale.data(),
                 intercept,
                 static_cast<Entries>(entries),
                 codes.data(),
                 codes.dtype().bits / 8,
                 static_cast<std::ptrdiff_t>(codes.shape(0)),
                 codes.stride(1),
                 codes.stride(0),
                 levels.data()};
        size_ = rows_.lead();
        for (std::ptrdiff_t g = 0; g < rows_.groups; ++g) {
            expect(levels.data()[g] >= 0, "levels are counted");
            size_ += levels.data()[g];
        }
    }

    void predictors(Vector parameters, Result eta) const {
        expect_coefficients(parameters.shape(0));
        expect_rows(eta.shape(0));
        SERVING(row_kernels).predictors(rows_, parameters.data(), eta.data());
    }

    void transposed(Vector values, Result total) const {
        expect_rows(values.shape(0));
        expect_coefficients(total.shape(0));
        SERVING(row_kernels).transposed(rows_, values.data(), total.data());
    }

    void gram(Vector values, Square gram) const {
        expect_rows(values.shape(0));
        expect_gram(gram);
        SERVING(row_kernels).gram(rows_, values.data(), gram.data(), symmetric_update);
    }

    void extents(Vector weight, Vector centre, Result low, Result high, Result first, Result second) const {
        expect_rows(weight.shape(0));
        const auto lead = static_cast<std::size_t>(rows_.lead());
        expect(centre.shape(0) == lead, "one number for each dense column");
        for (const auto& each : {low, high, first, second})
            expect(each.shape(0) == lead, "one number for each dense column");
        SERVING(row_kernels)
            .extents(rows_, weight.data(), centre.data(), low.data(), high.data(), first.data(), second.data());
    }

    // Value, smallest curvature, error of a predictor, sum of the curvature, reach, spread; the sums over coefficients stand in the arrays.
    nb::typed<nb::tuple, double, double, double, double, double, double> pass(
        int loss, Vector label, std::optional<Vector> weight, std::optional<Vector> offset, Vector parameters, Vector sizes,
        std::optional<Vector> direction, std::optional<Vector> squares, Vector charges, std::optional<Result> gradient, std::optional<Square> gram,
        std::optional<Result> error, std::optional<Result> centre, std::optional<Result> magnitude) const {
        expect(loss >= 0 && loss <= 3, "a loss that is compiled");
        expect_rows(label.shape(0));
        for (const auto& each : {weight, offset})
            if (each) expect_rows(each->shape(0));
        expect_coefficients(parameters.shape(0));
        expect_coefficients(sizes.shape(0));
        for (const auto& each : {direction, squares})
            if (each) expect_coefficients(each->shape(0));
        expect(charges.shape(0) == 4, "four charges");
        for (const auto& each : {gradient, error, centre, magnitude})
            if (each) expect_coefficients(each->shape(0));
        expect(centre.has_value() == magnitude.has_value(), "centre and magnitude together");
        if (gram) expect_gram(*gram);
        Totals totals{0, 0, 0, 0, 0, 0, at(gradient), gram ? gram->data() : nullptr, at(error), at(centre), at(magnitude)};
        const double* charged = charges.data();
        {
            nb::gil_scoped_release released;
            SERVING(row_kernels)
                .pass(rows_, {label.data(), weight ? weight->data() : nullptr, offset ? offset->data() : nullptr},
                      static_cast<Loss>(loss), parameters.data(), sizes.data(), direction ? direction->data() : nullptr,
                      squares ? squares->data() : nullptr,
                      {charged[0], charged[1], charged[2], charged[3]}, totals, symmetric_update);
        }
        return nb::make_tuple(totals.value, totals.smallest, totals.predictor, totals.curvature, totals.reach,
                              totals.spread);
    }

   private:
    static double* at(const std::optional<Result>& result) { return result ? result->data() : nullptr; }

    void expect_rows(std::size_t count) const {
        expect(static_cast<std::ptrdiff_t>(count) == rows_.rows, "one number for each row");
    }

    void expect_coefficients(std::size_t count) const {
        expect(static_cast<std::ptrdiff_t>(count) == size_, "one number for each coefficient");
    }

    void expect_gram(const Square& gram) const {
        const auto side = static_cast<std::size_t>(size_ + 1);
        expect(gram.shape(0) == side && gram.shape(1) == side, "a place for each two coefficients and one more");
    }

    Matrix dense_;
    Vector shift_, scale_;
    Matrix codes_;
    Levels levels_;
    StoredRows rows_;
    std::ptrdiff_t size_;
};

}  // namespace

void bind_rows(nb::module_& module) {
    using Release = nb::call_guard<nb::gil_scoped_release>;
    module.def(
        "use_blas", [](nb::capsule dsyrk) { symmetric_update = reinterpret_cast<SymmetricUpdate>(dsyrk.data()); },
        "Take SciPy's dsyrk for Gram matrices of many columns.");
    nb::class_<Rows>(module, "Rows")
        .def(nb::init<Matrix, Vector, Vector, bool, int, Matrix, Levels>())
        .def("predictors", &Rows::predictors, Release())
        .def("transposed", &Rows::transposed, Release())
        .def("gram", &Rows::gram, Release())
        .def("extents", &Rows::extents, Release())
        .def("pass_", &Rows::pass, nb::arg("loss"), nb::arg("label"), nb::arg("weight").none(), nb::arg("offset").none(),
             nb::arg("parameters"), nb::arg("sizes"), nb::arg("direction").none(), nb::arg("squares").none(),
             nb::arg("charges"), nb::arg("gradient").none(),
             nb::arg("gram").none(), nb::arg("error").none(), nb::arg("centre").none(), nb::arg("magnitude").none());
}
