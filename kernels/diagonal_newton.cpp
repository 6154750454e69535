// Learning from one row after the other by online Newton with a diagonal.
#include "epochs.hpp"
#include "row_reader.hpp"
#include "slopes.hpp"

namespace KERNEL_LEVEL {
namespace {

// As in batchlearn/kernels/online/diagonal.py.
constexpr double SHARE = 0.25, OF_INTERCEPT = 0.25, RATE = 4.0, ROWS_OF_START = 10.0;
constexpr double WEAKEST = 0.005, STRONGEST = 15.0;

constexpr Count READ_TOGETHER = 32;

typedef double Cell __attribute__((vector_size(32)));

// Eight cells of four numbers, where `place` says, to four vectors, and back.
template <class Place>
ALWAYS inline void take_cells(Place place, Doubles out[4]) {
    Doubles pairs[4], mixed[4];
    for (int i = 0; i < 4; ++i) {
        Cell low, high;
        std::memcpy(&low, place(i), sizeof low);
        std::memcpy(&high, place(i + 4), sizeof high);
        pairs[i] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
    }
    for (int i = 0; i < 4; i += 2) {
        mixed[i] = __builtin_shufflevector(pairs[i], pairs[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        mixed[i + 1] = __builtin_shufflevector(pairs[i], pairs[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 2; ++i) {
        out[i] = __builtin_shufflevector(mixed[i], mixed[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        out[i + 2] = __builtin_shufflevector(mixed[i], mixed[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
}

template <class Place>
ALWAYS inline void put_cells(Place place, const Doubles in[4]) {
    Doubles mixed[4], pairs[4];
    for (int i = 0; i < 2; ++i) {
        mixed[i] = __builtin_shufflevector(in[i], in[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        mixed[i + 2] = __builtin_shufflevector(in[i], in[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; i += 2) {
        pairs[i] = __builtin_shufflevector(mixed[i], mixed[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        pairs[i + 1] = __builtin_shufflevector(mixed[i], mixed[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 4; ++i) {
        const Cell low = __builtin_shufflevector(pairs[i], pairs[i], 0, 1, 2, 3);
        const Cell high = __builtin_shufflevector(pairs[i], pairs[i], 4, 5, 6, 7);
        std::memcpy(place(i), &low, sizeof low);
        std::memcpy(place(i + 4), &high, sizeof high);
    }
}

// The numbers of some coefficients that lie side by side, padded to whole vectors.
struct Beside {
    double* w;
    double* curvature;
    double* square;  // the mean of squared values that are not 0
    double* count;   // the weight of these
    double* along;   // values over precisions
};

inline Beside beside(double* numbers, Count padded) {
    return {numbers, numbers + padded, numbers + 2 * padded, numbers + 3 * padded, numbers + 4 * padded};
}

// What the entries of a row add up to.
struct Met {
    Doubles before{};  // the predictor as the coefficients were
    Doubles now{};     // as they are when sizes have grown
    Doubles reach{};   // x' D x
    Doubles prior{};   // that part of the predictor before which goes with the prior's strength
};

template <class Slopes>
class DiagonalWalk {
   public:
    DiagonalWalk(const Stretch& rows, Slopes slopes, const QuadraticPenalty& penalty, const DiagonalCells& state)
        : slopes_(slopes),
          penalty_(penalty),
          state_(state),
          penalised_(penalises(penalty)),
          lead_(rows.lead()),
          reader_(rows),
          most_(rounded_up(reader_.most_entries() + 1)),
          numbers_(9 * reader_.stride() + 6 * most_),
          column_(most_),
          majorant_(penalty.blocks ? penalty.size : 0),
          flat_(penalty.blocks ? penalty.size : 0),
          rise_(penalty.blocks ? penalty.size : 0) {
        const Count stride = reader_.stride();
        double* more = numbers_ + 5 * stride;
        dense_ = beside(numbers_, stride);
        strength_ = more, fixed_ = more + stride, rise_dense_ = more + 2 * stride, majorant_dense_ = more + 3 * stride;
        other_ = beside(more + 4 * stride, most_), value_ = more + 4 * stride + 5 * most_;
        for (Count j = 0; j < lead_; ++j) {
            const double* cell = state.cells + 4 * j;
            dense_.w[j] = cell[0];
            dense_.curvature[j] = cell[1];
            dense_.square[j] = cell[2];
            dense_.count[j] = cell[3];
            // The intercept's prior is a fixed one.
            strength_[j] = rows.intercept && j == 0 ? 0.0 : 1.0;
            fixed_[j] = rows.intercept && j == 0 ? OF_INTERCEPT : 0.0;
            majorant_dense_[j] = penalty.strengths[j];
        }
        if (!penalty.blocks) return;
        for (Count j = 0; j < penalty.size; ++j) majorant_[j] = penalty.strengths[j];
        const double* entry = penalty.matrices;
        for (Count b = 0; b < penalty.blocks; ++b)
            for (Count i = penalty.starts[b]; i < penalty.stops[b]; ++i)
                for (Count j = penalty.starts[b]; j < penalty.stops[b]; ++j) majorant_[i] += __builtin_fabs(*entry++);
        for (Count j = 0; j < lead_; ++j) majorant_dense_[j] = majorant_[j];
    }

    ~DiagonalWalk() {
        for (Count j = 0; j < lead_; ++j) {
            double* cell = state_.cells + 4 * j;
            cell[0] = dense_.w[j];
            cell[1] = dense_.curvature[j];
            cell[2] = dense_.square[j];
            cell[3] = dense_.count[j];
        }
    }

    void follow(const Stretch* shown, Count stop, double* predictors) {
        static const Stretch none{};
        const Count stride = reader_.stride();
        Numbers<double> block(READ_TOGETHER * stride);
        Numbers<double> view(shown ? stride : 0);
        const RowReader views(shown ? *shown : none);
        Numbers<std::int64_t> columns(shown ? views.most_entries() : 0);
        Numbers<double> values(shown ? views.most_entries() : 0);
        for (Count first = 0; first < stop; first += READ_TOGETHER) {
            const Count count = stop - first < READ_TOGETHER ? stop - first : READ_TOGETHER;
            reader_.dense(first, count, block, stride);
            for (Count r = 0; r < count; ++r) {
                const Count row = first + r;
                if (row + 2 < stop) reader_.ask_for(row + 2, state_.cells);
                double seen = 0.0;
                if (shown) {
                    views.dense(row, 1, view, stride);
                    seen = dot(dense_.w, view, stride) + views.offset(row);
                    const Count many = views.entries(row, columns, values);
                    for (Count k = 0; k < many; ++k) seen += state_.cells[4 * columns[k]] * values[k];
                }
                const double predictor = learn(row, block + r * stride);
                predictors[row] = shown ? seen : predictor;
            }
        }
    }

   private:
    // Learn from one row; return the predictor before.
    double learn(Count row, const double* x) {
        double* sums = state_.sums;
        const Count stride = reader_.stride();
        const double weight = reader_.weight(row), label = reader_.label(row), offset = reader_.offset(row);
        // 1. What the row meets; up to a whole vector the place of "no level" stands in, with a value of zero.
        count_ = reader_.entries(row, column_, value_);
        for (; count_ % LANES; ++count_) column_[count_] = penalty_.size, value_[count_] = 0.0;
        if (weight > 0.0) {
            sums[0] += weight;
            sums[1] += weight * (filled(x, strength_, stride) + filled(value_, nullptr, count_));
        }
        const double prior = precision();
        const Met met = meet(x, weight, prior);
        const double before = sum(met.before) + offset;
        if (weight > 0.0) {
            // 2. The prior's strength goes along the gradient of the loss as the row was predicted.
            const double now = sum(met.now) + offset, reach = sum(met.reach), part = sum(met.prior);
            const Derivatives at = slopes_(all(before), all(label));
            const double slope = at.slope[0], curvature = at.curvature[0];
            sums[2] += weight * slope * slope;
            sums[3] += weight * curvature;
            sums[5] += weight * curvature * part * part;
            // 3. The step that is best for the row along D x.
            double along = 0.0, bend = 0.0;
            if (reach > 0.0) {
                const Proximal found = proximal(slopes_, before, slope, curvature, now, label, weight, reach);
                along = found.along, bend = found.curvature;
            }
            move(dense_, x, along, bend, stride);
            scatter(along, bend);
            strengthen(weight * slope * part);
            sums[6] += weight;
        }
        sums[7] += 1.0;
        if (sums[7] >= static_cast<double>(state_.interval)) catch_up();
        return before;
    }

    // How many values are not 0, the intercept's not counted.
    ALWAYS static inline double filled(const double* x, const double* counted, Count padded) {
        Doubles total{};
        for (Count i = 0; i < padded; i += LANES)
            total += where_less(Doubles{}, magnitude(load(x + i)), counted ? load(counted + i) : all(1.0), Doubles{});
        return sum(total);
    }

    // The prior's precision of a coefficient whose values have a mean square of one.
    double precision() const {
        const double* sums = state_.sums;
        return sums[0] > 0.0 ? sums[4] * sums[1] / sums[0] : sums[4];
    }

    // Take in sizes of one vector of entries, and where these have grown let coefficients say less by as much as the prior
    // is stronger.
    ALWAYS static inline void meet(const Beside& part, Count i, Doubles x, Doubles prior, double weight, const Doubles cells[4], Met& met) {
        const Doubles none{}, size = x * x, is = where_less(none, magnitude(x), all(weight), none);
        const Doubles count = cells[3] + is;
        const Doubles square = cells[2] + (size - cells[2]) * (is / where_less(none, count, count, all(1.0)));
        const Doubles bend = SHARE * cells[1], precision = prior * square + bend, was = prior * cells[2] + bend;
        const Doubles inverse = 1.0 / where_less(none, precision, precision, all(1.0));
        const Doubles shrunk = where_less(was, precision, cells[0] * (was * inverse), cells[0]);
        const Doubles w = where_less(none, cells[3], shrunk, cells[0]), along = x * inverse, before = cells[0] * x;
        store(part.w + i, w);
        store(part.curvature + i, cells[1]);
        store(part.square + i, square);
        store(part.count + i, count);
        store(part.along + i, along);
        met.before += before;
        met.now += w * x;
        met.reach += along * x;
        met.prior += before * (prior * square * inverse);
    }

    ALWAYS inline Met meet(const double* x, double weight, double prior) {
        Met met;
        for (Count i = 0, stride = reader_.stride(); i < stride; i += LANES) {
            const Doubles cells[4] = {load(dense_.w + i), load(dense_.curvature + i), load(dense_.square + i),
                                      load(dense_.count + i)};
            const Doubles strength = load(strength_ + i);
            Met of{};
            meet(dense_, i, load(x + i), strength * prior + load(fixed_ + i), weight, cells, of);
            met.before += of.before;
            met.now += of.now;
            met.reach += of.reach;
            met.prior += strength * of.prior;
        }
        const double *cells_of = state_.cells, *value = value_;
        const std::int64_t* column = column_;
        for (Count k = 0, count = count_; k < count; k += LANES) {
            Doubles cells[4];
            take_cells([&](int i) { return cells_of + 4 * column[k + i]; }, cells);
            meet(other_, k, load(value + k), all(prior), weight, cells, met);
        }
        return met;
    }

    ALWAYS static inline void move(const Beside& part, const double* x, double along, double bend, Count padded) {
        for (Count i = 0; i < padded; i += LANES) {
            const Doubles value = load(x + i);
            store(part.w + i, load(part.w + i) + along * load(part.along + i));
            store(part.curvature + i, load(part.curvature + i) + bend * (value * value));
        }
    }

    // Write back what the row's other entries meet, moved along.
    ALWAYS inline void scatter(double along, double bend) {
        double* cells_of = state_.cells;
        const std::int64_t* column = column_;
        for (Count k = 0, count = count_; k < count; k += LANES) {
            const Doubles value = load(value_ + k);
            const Doubles cells[4] = {load(other_.w + k) + along * load(other_.along + k),
                                      load(other_.curvature + k) + bend * (value * value), load(other_.square + k),
                                      load(other_.count + k)};
            put_cells([&](int i) { return cells_of + 4 * column[k + i]; }, cells);
        }
    }

    // Make the prior stronger where its part of the predictor went the wrong way, weaker where it went the right one.
    void strengthen(double gain) {
        double* sums = state_.sums;
        const double unit = ROWS_OF_START * sums[2] / larger_of(sums[3], 1e-300) + sums[5];
        double step = RATE * gain / unit;
        if (!(step < 1.0)) step = step >= 1.0 ? 1.0 : 0.0;  // nothing where neither is a number
        if (step < -1.0) step = -1.0;
        const double strength = sums[4] * ((2.0 + step) / (2.0 - step));
        sums[4] = strength < WEAKEST ? WEAKEST : strength > STRONGEST ? STRONGEST : strength;
    }

    static double larger_of(double a, double b) { return a > b ? a : b; }

    // Step along the penalty for the rows since the last time, no further than is stable.
    void catch_up() {
        double* sums = state_.sums;
        const double due = sums[6], prior = precision();
        sums[6] = sums[7] = 0.0;
        if (!(due > 0.0) || !penalised_) return;
        const double *majorant = penalty_.strengths, *rise = nullptr;
        if (penalty_.blocks) {
            for (Count j = 0; j < penalty_.size; ++j) flat_[j] = j < lead_ ? dense_.w[j] : state_.cells[4 * j];
            penalty_gradient(penalty_, flat_, rise_);
            rise = rise_;
            majorant = majorant_;
        }
        if (rise)
            for (Count j = 0; j < lead_; ++j) rise_dense_[j] = rise[j];
        for (Count j = 0; j < reader_.stride(); j += LANES) {
            const Doubles w = load(dense_.w + j), gradient = rise ? load(rise_dense_ + j) : load(majorant_dense_ + j) * w;
            const Doubles own = load(strength_ + j) * prior + load(fixed_ + j);
            const Doubles precision = own * load(dense_.square + j) + SHARE * load(dense_.curvature + j);
            store(dense_.w + j, w + along(gradient, precision, load(dense_.count + j), due, load(majorant_dense_ + j)));
        }
        for (Count j = lead_; j < penalty_.size; j += LANES) {
            // Up to a whole vector the place of "no level" stands in, without a penalty.
            const Count inside = penalty_.size - j < LANES ? penalty_.size - j : LANES;
            const auto place = [&](int i) { return state_.cells + 4 * (i < inside ? j + i : penalty_.size); };
            Doubles cells[4];
            take_cells(place, cells);
            const Doubles most = some(majorant + j, inside);
            const Doubles gradient = rise ? some(rise + j, inside) : most * cells[0];
            cells[0] += along(gradient, prior * cells[2] + SHARE * cells[1], cells[3], due, most);
            put_cells(place, cells);
        }
    }

    // Some numbers, and zeros.
    ALWAYS static inline Doubles some(const double* from, Count count) {
        if (count == LANES) return load(from);
        double numbers[LANES] = {};
        for (Count k = 0; k < count; ++k) numbers[k] = from[k];
        return load(numbers);
    }

    // The step of coefficients that were met: the gradient due over precision and majorant due.
    ALWAYS static inline Doubles along(Doubles gradient, Doubles precision, Doubles count, double due, Doubles majorant) {
        const Doubles none{}, moved = -due * gradient / where_less(none, count, precision + due * majorant, all(1.0));
        return where_less(none, count, moved, none);
    }

    Slopes slopes_;
    const QuadraticPenalty& penalty_;
    const DiagonalCells& state_;
    bool penalised_;
    Count lead_;
    RowReader reader_;
    Count most_;
    Numbers<double> numbers_;
    Numbers<std::int64_t> column_;
    Numbers<double> majorant_, flat_, rise_;
    Beside dense_, other_;
    double *strength_, *fixed_, *value_, *rise_dense_, *majorant_dense_;
    Count count_ = 0;
};

void diagonal(const Stretch& rows, const Stretch* shown, CompiledLoss loss, const QuadraticPenalty& penalty,
              const DiagonalCells& state, double* predictors) {
    with_slopes(loss, [&](auto slopes) {
        DiagonalWalk<decltype(slopes)>(rows, slopes, penalty, state).follow(shown, rows.rows, predictors);
    });
}

}  // namespace

extern const DiagonalKernels diagonal_kernels = {diagonal};

}  // namespace KERNEL_LEVEL
