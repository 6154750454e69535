#include <algorithm>
#include <limits>
#include <type_traits>

#include "bindings.hpp"
#include "epochs.hpp"

namespace {

using Matrix = nb::ndarray<nb::ro, nb::ndim<2>, nb::device::cpu>;
using Line = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Places = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Counters = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using SingleTable = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

constexpr auto REAL = static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float);

void need(bool holds, const char* what) {
    if (!holds) throw nb::value_error(what);
}

bool whole_numbers(const Line& values) {
    return values.dtype().code != REAL && (values.dtype().bits == 32 || values.dtype().bits == 64);
}

template <class Array>
bool real_numbers(const Array& values) {
    return values.dtype().code == REAL && (values.dtype().bits == 32 || values.dtype().bits == 64);
}

// Rows to learn from, which keep the arrays that they are stored in.
class LearnedRows {
   public:
    LearnedRows(Matrix dense, Vector shift, Vector scale, bool intercept, Matrix codes, Places levels, Vector label,
                std::optional<Vector> weight, std::optional<Vector> offset)
        : dense_(dense), shift_(shift), scale_(scale), codes_(codes), levels_(levels), label_(label), weight_(weight),
          offset_(offset) {
        const auto rows = dense.shape(1);
        need(real_numbers(dense), "dense columns are float32 or float64");
        need(shift.shape(0) == dense.shape(0) && scale.shape(0) == dense.shape(0), "a shift and a scale a column");
        need(codes.shape(1) == rows && codes.dtype().code != REAL, "whole codes for each row");
        need(levels.shape(0) == codes.shape(0), "the levels of each group");
        need(label.shape(0) == rows, "a label a row");
        need((!weight || weight->shape(0) == rows) && (!offset || offset->shape(0) == rows), "a number a row");
        auto& s = stretch;
        s.rows = static_cast<Count>(rows);
        s.dense = dense.data();
        s.single = dense.dtype().bits == 32;
        s.columns = static_cast<Count>(dense.shape(0));
        s.row_stride = dense.stride(1);
        s.column_stride = dense.stride(0);
        s.shift = shift.data();
        s.scale = scale.data();
        s.intercept = intercept;
        s.codes = codes.data();
        s.code_bytes = codes.dtype().bits / 8;
        s.groups = static_cast<Count>(codes.shape(0));
        s.code_row_stride = codes.stride(1);
        s.code_group_stride = codes.stride(0);
        s.levels = levels.data();
        s.label = label.data();
        s.weight = weight ? weight->data() : nullptr;
        s.offset = offset ? offset->data() : nullptr;
        s.first = s.lead();
        for (Count g = 0; g < s.groups; ++g) {
            need(s.levels[g] >= 0, "levels are counted");
            s.first += s.levels[g];
        }
        s.size = s.first;
    }

    // The sparse part, CSR: pointers and indices of one type, and what each column's entries are multiplied by.
    void set_sparse(Line pointers, Line indices, Line entries, Count columns, std::optional<Vector> factor) {
        need(whole_numbers(pointers) && whole_numbers(indices), "pointers and indices are int32 or int64");
        need(pointers.dtype().bits == indices.dtype().bits, "pointers and indices of one type");
        need(real_numbers(entries), "entries are float32 or float64");
        need(pointers.shape(0) == static_cast<std::size_t>(stretch.rows) + 1, "pointers of each row");
        need(indices.shape(0) == entries.shape(0), "an index an entry");
        need(!factor || factor->shape(0) == static_cast<std::size_t>(columns), "a factor a column");
        const bool narrow = pointers.dtype().bits == 32;
        narrow ? check<std::int32_t>(pointers, indices, columns) : check<std::int64_t>(pointers, indices, columns);
        pointers_ = pointers, indices_ = indices, entries_ = entries, factor_ = factor;
        stretch.pointers = pointers.data();
        stretch.indices = indices.data();
        stretch.entries = entries.data();
        stretch.index_bytes = narrow ? 4 : 8;
        stretch.single_entries = entries.dtype().bits == 32;
        stretch.sparse_factor = factor ? factor->data() : nullptr;
        stretch.size = stretch.first + columns;
    }

    Stretch stretch{};

   private:
    template <class Whole>
    static void check(const Line& pointers, const Line& indices, Count columns) {
        const Whole* starts = static_cast<const Whole*>(pointers.data());
        const Whole* places = static_cast<const Whole*>(indices.data());
        const auto count = static_cast<Count>(indices.shape(0)), rows = static_cast<Count>(pointers.shape(0)) - 1;
        bool inside = starts[0] >= 0 && static_cast<Count>(starts[rows]) <= count;
        for (Count r = 0; r < rows; ++r) inside &= starts[r] <= starts[r + 1];
        need(inside, "pointers rise, within the entries");
        // The highest bit of a number below 0, or of what is left to the last column: an operation of all instruction sets.
        using Natural = std::make_unsigned_t<Whole>;
        const auto last = static_cast<Natural>(std::min<Count>(columns - 1, std::numeric_limits<Whole>::max()));
        Natural outside = 0;
        for (Count k = starts[0], stop = starts[rows]; k < stop; ++k) {
            const auto place = static_cast<Natural>(places[k]);
            outside |= place | (last - place);
        }
        need(static_cast<Whole>(outside) >= 0, "indices are columns");
    }

    Matrix dense_;
    Vector shift_, scale_;
    Matrix codes_;
    Places levels_;
    Vector label_;
    std::optional<Vector> weight_, offset_;
    Line pointers_, indices_, entries_;
    std::optional<Vector> factor_;
};

// Strengths (d,), and the blocks' starts, stops and matrices, one after the other.
class Penalised {
   public:
    Penalised(Vector strengths, Places starts, Places stops, Vector matrices)
        : strengths_(strengths), starts_(starts), stops_(stops), matrices_(matrices) {
        need(starts.shape(0) == stops.shape(0), "a stop for each start");
        const auto size = static_cast<Count>(strengths.shape(0));
        Count numbers = 0;
        for (std::size_t b = 0; b < starts.shape(0); ++b) {
            const Count start = starts.data()[b], stop = stops.data()[b];
            need(0 <= start && start <= stop && stop <= size, "blocks lie within the coefficients");
            numbers += (stop - start) * (stop - start);
        }
        need(numbers == static_cast<Count>(matrices.shape(0)), "a number for each two coefficients of a block");
        penalty = {size, static_cast<Count>(starts.shape(0)), strengths.data(), starts.data(), stops.data(), matrices.data()};
    }

    QuadraticPenalty penalty;

   private:
    Vector strengths_;
    Places starts_, stops_;
    Vector matrices_;
};

CompiledLoss loss_of(int kind, double parameter) {
    need(kind >= 0 && kind <= 5, "a loss that is compiled");
    return {static_cast<LossKind>(kind), parameter};
}

const Stretch* shown_of(const LearnedRows& rows, const LearnedRows* shown) {
    if (shown) need(shown->stretch.rows == rows.stretch.rows && shown->stretch.size == rows.stretch.size, "as many rows are shown");
    return shown ? &shown->stretch : nullptr;
}

void follow_diagonal(const LearnedRows& rows, const LearnedRows* shown, int kind, double parameter,
                     const Penalised& penalty, Table cells, Result sums, Count interval, Result predictors) {
    const Count size = rows.stretch.size;
    need(penalty.penalty.size == size, "a strength a coefficient");
    need(static_cast<Count>(cells.shape(0)) == size + 1 && cells.shape(1) == 4 && sums.shape(0) == 8, "a state of such rows");
    need(static_cast<Count>(predictors.shape(0)) == rows.stretch.rows && interval > 0, "a predictor a row");
    const Stretch* view = shown_of(rows, shown);
    const CompiledLoss loss = loss_of(kind, parameter);
    const nb::gil_scoped_release released;
    SERVING(diagonal_kernels)
        .diagonal(rows.stretch, view, loss, penalty.penalty, {cells.data(), sums.data(), interval}, predictors.data());
}

void follow_newton(const LearnedRows& rows, const LearnedRows* shown, int kind, double parameter, Result parameters,
                   Table inverse, std::optional<Vector> strengths, std::optional<Result> paid, Result weight, Counters turn,
                   Count block, Count in_turn, double least, Result predictors) {
    const Stretch& s = rows.stretch;
    const auto size = static_cast<std::size_t>(s.size);
    need(parameters.shape(0) == size && inverse.shape(0) == size && inverse.shape(1) == size, "a state of such rows");
    need(static_cast<Count>(predictors.shape(0)) == s.rows, "a predictor a row");
    need(strengths.has_value() == paid.has_value(), "strengths and what is paid together");
    need(!strengths || (strengths->shape(0) == size && paid->shape(0) == size), "a strength a coefficient");
    need(weight.shape(0) == 1 && turn.shape(0) == 1 && block > 0 && block % 4 == 0 && in_turn > 0, "turns after whole blocks");
    const Stretch* view = shown_of(rows, shown);
    const CompiledLoss loss = loss_of(kind, parameter);
    const Count intercept = s.intercept ? 1 : 0;
    const PenaltyTurns turns{strengths ? strengths->data() : nullptr, paid ? paid->data() : nullptr, weight.data(),
                             turn.data(), block, in_turn, intercept, least};
    const nb::gil_scoped_release released;
    SERVING(newton_kernels).newton(s, view, loss, parameters.data(), inverse.data(), turns, predictors.data());
}

Batches batches_of(const LearnedRows& rows, const Places& starts, const Places& stops, const Vector& weights,
                   const Vector* rates) {
    const auto count = starts.shape(0);
    need(stops.shape(0) == count && weights.shape(0) == count && (!rates || rates->shape(0) == count), "four numbers a batch");
    for (std::size_t b = 0; b < count; ++b)
        need(0 <= starts.data()[b] && starts.data()[b] <= stops.data()[b] && stops.data()[b] <= rows.stretch.rows,
             "batches of the stretch");
    return {static_cast<Count>(count), starts.data(), stops.data(), weights.data(), rates ? rates->data() : nullptr};
}

void follow_gradients(const LearnedRows& rows, int kind, double parameter, const Penalised& penalty, Places starts,
                      Places stops, Vector weights, Vector rates, Count interval, Vector majorant, Result parameters,
                      Result moves, Result sums, bool last) {
    const auto size = static_cast<std::size_t>(rows.stretch.size);
    need(static_cast<std::size_t>(penalty.penalty.size) == size && majorant.shape(0) == size, "a strength a coefficient");
    need(parameters.shape(0) == size + 1 && moves.shape(0) == size + 1 && sums.shape(0) == 3 && interval > 0, "a state of such rows");
    const Batches batches = batches_of(rows, starts, stops, weights, &rates);
    const CompiledLoss loss = loss_of(kind, parameter);
    const GradientWalk walk{parameters.data(), moves.data(), sums.data(), interval, majorant.data()};
    const nb::gil_scoped_release released;
    SERVING(batch_kernels).gradient(rows.stretch, loss, penalty.penalty, batches, walk, last);
}

void follow_reduced(const LearnedRows& rows, int kind, double parameter, const Penalised& penalty, Places starts,
                    Places stops, Vector weights, SingleTable inverse, double length, std::optional<Vector> anchor,
                    std::optional<Vector> gradient, Result parameters, Result mean, Counters count) {
    const auto size = static_cast<std::size_t>(rows.stretch.size);
    need(static_cast<std::size_t>(penalty.penalty.size) == size, "a strength a coefficient");
    need(inverse.shape(0) == size && inverse.shape(1) == size, "an inverse Hessian of all coefficients");
    need(parameters.shape(0) == size && mean.shape(0) == size && count.shape(0) == 1, "a state of such rows");
    need(anchor.has_value() == gradient.has_value(), "an anchor and its gradient together");
    need(!anchor || (anchor->shape(0) == size && gradient->shape(0) == size), "an anchor of all coefficients");
    const Batches batches = batches_of(rows, starts, stops, weights, nullptr);
    const CompiledLoss loss = loss_of(kind, parameter);
    const ReducedWalk walk{inverse.data(), length, anchor ? anchor->data() : nullptr, gradient ? gradient->data() : nullptr,
                           parameters.data(), mean.data(), count.data()};
    const nb::gil_scoped_release released;
    SERVING(batch_kernels).reduced(rows.stretch, loss, penalty.penalty, batches, walk);
}

}  // namespace

void bind_epochs(nb::module_& module) {
    nb::class_<LearnedRows>(module, "LearnedRows")
        .def(nb::init<Matrix, Vector, Vector, bool, Matrix, Places, Vector, std::optional<Vector>, std::optional<Vector>>(),
             nb::arg("dense"), nb::arg("shift"), nb::arg("scale"), nb::arg("intercept"), nb::arg("codes"), nb::arg("levels"),
             nb::arg("label"), nb::arg("weight").none(), nb::arg("offset").none())
        .def("set_sparse", &LearnedRows::set_sparse, nb::arg("pointers"), nb::arg("indices"), nb::arg("entries"),
             nb::arg("columns"), nb::arg("factor").none());
    nb::class_<Penalised>(module, "Penalised").def(nb::init<Vector, Places, Places, Vector>());
    module.def("follow_diagonal", follow_diagonal, nb::arg("rows"), nb::arg("shown").none(), nb::arg("loss"),
               nb::arg("parameter"), nb::arg("penalty"), nb::arg("cells"), nb::arg("sums"), nb::arg("interval"),
               nb::arg("predictors"));
    module.def("follow_newton", follow_newton, nb::arg("rows"), nb::arg("shown").none(), nb::arg("loss"),
               nb::arg("parameter"), nb::arg("parameters"), nb::arg("inverse"), nb::arg("strengths").none(),
               nb::arg("paid").none(), nb::arg("weight"), nb::arg("turn"), nb::arg("block"), nb::arg("in_turn"),
               nb::arg("least"), nb::arg("predictors"));
    module.def("follow_gradients", follow_gradients);
    module.def("follow_reduced", follow_reduced, nb::arg("rows"), nb::arg("loss"), nb::arg("parameter"), nb::arg("penalty"),
               nb::arg("starts"), nb::arg("stops"), nb::arg("weights"), nb::arg("inverse"), nb::arg("length"),
               nb::arg("anchor").none(), nb::arg("gradient").none(), nb::arg("parameters"), nb::arg("mean"), nb::arg("count"));
}
