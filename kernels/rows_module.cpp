#include <memory>
#include <optional>

#include "bindings.hpp"
#include "outputs.hpp"
#include "rows.hpp"

namespace {

using Matrix = nb::ndarray<nb::ro, nb::ndim<2>, nb::device::cpu>;
using Levels = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Line = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Square = nb::ndarray<double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
// Numbers of all classes, of each coefficient; or a matrix that is only read.
using Factors = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

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
                 levels.data(),
                 {}};
        size_ = rows_.lead();
        for (std::ptrdiff_t g = 0; g < rows_.groups; ++g) {
            expect(levels.data()[g] >= 0, "levels are counted");
            size_ += levels.data()[g];
        }
        known_ = size_;
    }

    // The sparse part, CSR: pointers and indices of one type, and what each column's entries are multiplied by.
    void set_sparse(Line pointers, Line indices, Line entries, std::ptrdiff_t columns, std::optional<Vector> factor,
                    int kind) {
        const auto real = static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float);
        const auto whole = static_cast<std::uint8_t>(nb::dlpack::dtype_code::Int);
        const auto bits = pointers.dtype().bits;
        expect(pointers.dtype() == indices.dtype() && pointers.dtype().code == whole && (bits == 32 || bits == 64),
               "pointers and indices are int32 or int64 numbers");
        expect(entries.dtype().code == real && (entries.dtype().bits == 32 || entries.dtype().bits == 64),
               "entries are float32 or float64");
        expect(pointers.shape(0) == static_cast<std::size_t>(rows_.rows) + 1, "a pointer number for each row, and the end");
        expect(indices.shape(0) == entries.shape(0), "an index number for each entry");
        expect(kind >= 0 && kind <= 2, "entries are as they are, absolute or squared");
        expect(columns >= 0 && (!factor || factor->shape(0) == static_cast<std::size_t>(columns)), "a factor number for each column");
        const bool rise = bits == 32 ? rising<std::int32_t>(pointers, indices) : rising<std::int64_t>(pointers, indices);
        expect(rise, "pointer numbers that rise, within the entries");
        pointers_ = pointers, indices_ = indices, sparse_entries_ = entries, factor_ = factor;
        rows_.sparse = {pointers.data(), indices.data(), entries.data(), bits / 8, entries.dtype().bits == 32, columns,
                        factor ? factor->data() : nullptr, static_cast<Entries>(kind)};
        size_ = known_ + columns;
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

    void forms(Factors matrix, Result results) const {
        expect(!rows_.sparse.pointers, "rows without a sparse part");
        expect_rows(results.shape(0));
        const auto side = static_cast<std::size_t>(known_ + 1);
        expect(matrix.shape(0) == side && matrix.shape(1) == side, "a place for each two coefficients and one more");
        SERVING(row_kernels).forms(rows_, matrix.data(), results.data());
    }

    void extents(Vector weight, Vector centre, Result low, Result high, Result first, Result second,
                 std::optional<Square> sparse) const {
        expect_rows(weight.shape(0));
        const auto lead = static_cast<std::size_t>(rows_.lead());
        expect(centre.shape(0) == lead, "one number for each dense column");
        for (const auto& each : {low, high, first, second})
            expect(each.shape(0) == lead, "one number for each dense column");
        expect(!rows_.sparse.pointers || (sparse && sparse->shape(0) == static_cast<std::size_t>(rows_.sparse.columns) &&
                                          sparse->shape(1) == 8),
               "eight numbers for each sparse column");
        SERVING(row_kernels)
            .extents(rows_, weight.data(), centre.data(), low.data(), high.data(), first.data(), second.data(),
                     sparse ? sparse->data() : nullptr);
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

    // Of classes: value, smallest curvature, error of the logits, reach, spread; what is added up stands in the arrays.
    nb::typed<nb::tuple, double, double, double, double, double> pass_of_classes(
        std::ptrdiff_t classes, Vector label, std::optional<Vector> weight, Factors logits, std::optional<Factors> sizes,
        std::optional<Factors> direction, std::optional<Factors> squares, Vector charges, std::optional<Square> slopes,
        std::optional<Square> errors) const {
        expect(!rows_.sparse.pointers, "no sparse columns");
        expect(classes >= 1 && classes <= MOST_CLASSES, "as many classes as there is room for");
        const auto places = static_cast<std::size_t>((classes + 7) / 8 * 8);
        expect_rows(label.shape(0));
        if (weight) expect_rows(weight->shape(0));
        expect_places(logits, places);
        for (const auto& each : {sizes, direction, squares})
            if (each) expect_places(*each, places);
        for (const auto& each : {slopes, errors})
            if (each) expect_places(*each, places);
        expect(charges.shape(0) == 4, "four charges");
        expect(!errors || sizes, "sizes where errors are wanted");
        ClassTotals totals{0, 0, 0, 0, 0, slopes ? slopes->data() : nullptr, errors ? errors->data() : nullptr};
        const ClassFactors factors{logits.data(), sizes ? sizes->data() : nullptr, direction ? direction->data() : nullptr,
                                   squares ? squares->data() : nullptr};
        const double* charged = charges.data();
        {
            nb::gil_scoped_release released;
            SERVING(class_kernels)
                .pass(rows_, {label.data(), weight ? weight->data() : nullptr, nullptr}, classes, factors,
                      {charged[0], charged[1], charged[2], charged[3]}, totals);
        }
        return nb::make_tuple(totals.value, totals.smallest, totals.error, totals.reach, totals.spread);
    }

    void forms_of_classes(Factors triangles, Square forms) const {
        const auto size = static_cast<std::size_t>(known_), places = static_cast<std::size_t>(triangles.shape(1));
        expect(!rows_.sparse.pointers, "no sparse columns");
        expect(triangles.shape(0) == size * (size + 1) / 2, "lower triangles of the coefficients");
        expect(places % 8 == 0 && forms.shape(1) == places, "places in eights");
        expect_rows(forms.shape(0));
        SERVING(class_kernels).forms(rows_, static_cast<std::ptrdiff_t>(places), triangles.data(), forms.data());
    }

   private:
    template <class Whole>
    static bool rising(const Line& pointers, const Line& indices) {
        const Whole* starts = static_cast<const Whole*>(pointers.data());
        const std::size_t rows = pointers.shape(0) - 1;
        bool rise = starts[0] >= 0 && static_cast<std::size_t>(starts[rows]) <= indices.shape(0);
        for (std::size_t r = 0; r < rows; ++r) rise &= starts[r] <= starts[r + 1];
        return rise;
    }

    static double* at(const std::optional<Result>& result) { return result ? result->data() : nullptr; }

    void expect_rows(std::size_t count) const {
        expect(static_cast<std::ptrdiff_t>(count) == rows_.rows, "one number for each row");
    }

    void expect_coefficients(std::size_t count) const {
        expect(static_cast<std::ptrdiff_t>(count) == size_, "one number for each coefficient");
    }

    template <class Numbers>
    void expect_places(const Numbers& numbers, std::size_t places) const {
        expect_coefficients(numbers.shape(0));
        expect(numbers.shape(1) == places, "a place for each class, in eights");
    }

    void expect_gram(const Square& gram) const {
        // Products of sparse columns are not formed here.
        const auto side = static_cast<std::size_t>(known_ + 1);
        expect(gram.shape(0) == side && gram.shape(1) == side, "a place for each two coefficients and one more");
    }

    Matrix dense_;
    Vector shift_, scale_;
    Matrix codes_;
    Levels levels_;
    Line pointers_, indices_, sparse_entries_;
    std::optional<Vector> factor_;
    StoredRows rows_;
    std::ptrdiff_t known_, size_;  // coefficients in front of the sparse part, and with it
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
        .def("forms", &Rows::forms, Release())
        .def("pass_of_classes", &Rows::pass_of_classes, nb::arg("classes"), nb::arg("label"), nb::arg("weight").none(),
             nb::arg("logits"), nb::arg("sizes").none(), nb::arg("direction").none(), nb::arg("squares").none(),
             nb::arg("charges"), nb::arg("slopes").none(), nb::arg("errors").none())
        .def("forms_of_classes", &Rows::forms_of_classes, Release())
        .def("set_sparse", &Rows::set_sparse, nb::arg("pointers"), nb::arg("indices"), nb::arg("entries"),
             nb::arg("columns"), nb::arg("factor").none(), nb::arg("kind"))
        .def("extents", &Rows::extents, nb::arg("weight"), nb::arg("centre"), nb::arg("low"), nb::arg("high"),
             nb::arg("first"), nb::arg("second"), nb::arg("sparse").none(), Release())
        .def("pass_", &Rows::pass, nb::arg("loss"), nb::arg("label"), nb::arg("weight").none(), nb::arg("offset").none(),
             nb::arg("parameters"), nb::arg("sizes"), nb::arg("direction").none(), nb::arg("squares").none(),
             nb::arg("charges"), nb::arg("gradient").none(),
             nb::arg("gram").none(), nb::arg("error").none(), nb::arg("centre").none(), nb::arg("magnitude").none());
}
