// Learning from one row after the other by normalised updates.
#include "epochs.hpp"
#include "row_reader.hpp"
#include "slopes.hpp"

namespace KERNEL_LEVEL {
namespace {

// Of the one-row Newton step; as in batchlearn/kernels/normalised.py.
constexpr double RATE = 0.25, TINY = 1e-300;

constexpr Count READ_TOGETHER = 32;

inline double larger_of(double a, double b) { return a > b ? a : b; }

// The numbers of some coefficients that lie side by side, padded to whole vectors.
struct Beside {
    double* w;
    double* squares;
    double* known;    // the largest size so far, 0 where nothing was seen
    double* inverse;  // of the size, one where nothing was seen
    double* step;
    double* scaled;
};

inline Beside beside(double* numbers, Count padded) {
    return {numbers, numbers + padded, numbers + 2 * padded, numbers + 3 * padded, numbers + 4 * padded, numbers + 5 * padded};
}

// Take in new largest sizes: a coefficient keeps what it says about the largest value so far.
ALWAYS inline void grow(Doubles& w, Doubles& known, Doubles size) {
    const Doubles most = where_less(known, size, size, known);
    w *= where_less(Doubles{}, known, known / where_less(Doubles{}, most, most, all(1.0)), all(1.0));
    known = most;
}

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

template <class Slopes>
class NormalisedWalk {
   public:
    NormalisedWalk(const Stretch& rows, Slopes slopes, const QuadraticPenalty& penalty, const NormalisedCells& state)
        : slopes_(slopes),
          penalty_(penalty),
          state_(state),
          penalised_(penalises(penalty)),
          lead_(rows.lead()),
          reader_(rows),
          most_(rounded_up(reader_.most_entries() + 1)),
          numbers_(9 * reader_.stride() + 8 * most_),
          column_(most_),
          majorant_(penalty.blocks ? penalty.size : 0),
          flat_(penalty.blocks ? penalty.size : 0),
          rise_(penalty.blocks ? penalty.size : 0) {
        const Count stride = reader_.stride();
        double* other = numbers_ + 9 * stride;
        rise_dense_ = numbers_ + 7 * stride, majorant_dense_ = numbers_ + 8 * stride;
        dense_ = beside(numbers_, stride), moves_ = numbers_ + 6 * stride;
        other_ = beside(other, most_), other_moves_ = other + 6 * most_, value_ = other + 7 * most_;
        for (Count j = 0; j < lead_; ++j) {
            const double* cell = state.cells + 4 * j;
            dense_.w[j] = cell[0];
            dense_.squares[j] = cell[1];
            dense_.known[j] = cell[2];
            moves_[j] = cell[3];
        }
        for (Count j = 0; j < lead_; ++j) majorant_dense_[j] = penalty.strengths[j];
        if (!penalty.blocks) return;
        for (Count j = 0; j < penalty.size; ++j) majorant_[j] = penalty.strengths[j];
        const double* entry = penalty.matrices;
        for (Count b = 0; b < penalty.blocks; ++b)
            for (Count i = penalty.starts[b]; i < penalty.stops[b]; ++i)
                for (Count j = penalty.starts[b]; j < penalty.stops[b]; ++j) majorant_[i] += __builtin_fabs(*entry++);
        for (Count j = 0; j < lead_; ++j) majorant_dense_[j] = majorant_[j];
    }

    ~NormalisedWalk() {
        for (Count j = 0; j < lead_; ++j) {
            double* cell = state_.cells + 4 * j;
            cell[0] = dense_.w[j];
            cell[1] = dense_.squares[j];
            cell[2] = dense_.known[j];
            cell[3] = moves_[j];
        }
    }

    void follow(const Stretch* shown, Count start, Count stop, double* predictors) {
        const Count stride = reader_.stride();
        Numbers<double> block(READ_TOGETHER * stride);
        Numbers<double> view(shown ? stride : 0);
        const RowReader views(shown ? *shown : rows_of_none());
        Numbers<std::int64_t> columns(shown ? views.most_entries() : 0);
        Numbers<double> values(shown ? views.most_entries() : 0);
        for (Count first = start; first < stop; first += READ_TOGETHER) {
            const Count count = stop - first < READ_TOGETHER ? stop - first : READ_TOGETHER;
            reader_.dense(first, count, block, stride);
            for (Count r = 0; r < count; ++r) {
                const Count row = first + r;
                if (row + 2 < stop) reader_.ask_for(row + 2, state_.cells);
                const double* x = block + r * stride;
                for (Count j = 0; j < stride; j += LANES) {
                    Doubles w = load(dense_.w + j), known = load(dense_.known + j);
                    const Doubles size = magnitude(load(x + j));
                    if (!any_less(known, size)) continue;
                    grow(w, known, size);
                    store(dense_.w + j, w);
                    store(dense_.known + j, known);
                }
                const double other = gather(row);
                if (grown_ && (shown || !(reader_.weight(row) > 0.0))) scatter(0.0, 0.0, 1.0, 0.0);
                if (shown) {
                    views.dense(row, 1, view, stride);
                    double eta = dot(dense_.w, view, stride) + views.offset(row);
                    const Count many = views.entries(row, columns, values);
                    for (Count k = 0; k < many; ++k) eta += state_.cells[4 * columns[k]] * values[k];
                    predictors[row - start] = eta;
                    learn(row, x, other);
                } else {
                    predictors[row - start] = learn(row, x, other);
                }
            }
        }
    }

   private:
    static const Stretch& rows_of_none() {
        static const Stretch none{};
        return none;
    }

    // Bring what the row's other entries meet side by side, grown where they are larger than all before; return their part
    // of the predictor. What is grown is not written back yet.
    double gather(Count row) {
        count_ = reader_.entries(row, column_, value_);
        // Up to a whole vector the place of "no level" stands in, with a value of zero: it stays as it is.
        for (; count_ % LANES; ++count_) column_[count_] = penalty_.size, value_[count_] = 0.0;
        const Beside part = other_;
        const double *cells_of = state_.cells, *value = value_;
        const std::int64_t* column = column_;
        double* moves = other_moves_;
        Doubles total{};
        grown_ = false;
        for (Count k = 0, count = count_; k < count; k += LANES) {
            Doubles cells[4];
            take_cells([&](int i) { return cells_of + 4 * column[k + i]; }, cells);
            const Doubles x = load(value + k), size = magnitude(x);
            if (any_less(cells[2], size)) {
                grow(cells[0], cells[2], size);
                grown_ = true;
            }
            store(part.w + k, cells[0]);
            store(part.squares + k, cells[1]);
            store(part.known + k, cells[2]);
            store(moves + k, cells[3]);
            total += cells[0] * x;
        }
        return sum(total);
    }

    // Write back what the row's other entries meet, moved along so much of their steps; return how far the whole of these
    // moves the predictor. What was gathered stays as it was.
    double scatter(double slope, double factor, double length, double before) const {
        const Beside part = other_;
        double *cells_of = state_.cells, *moves = other_moves_;
        const std::int64_t* column = column_;
        Doubles total{};
        for (Count k = 0, count = count_; k < count; k += LANES) {
            const Doubles scaled = load(part.scaled + k), gradient = slope * scaled;
            const Doubles squares = load(part.squares + k) + gradient * gradient;
            const Doubles step = gradient * factor / root(squares + TINY);
            const Doubles moved = step * length * load(part.inverse + k);
            total += step * scaled;
            const Doubles cells[4] = {load(part.w + k) + moved, squares, load(part.known + k),
                                      load(moves + k) + before * moved};
            put_cells([&](int i) { return cells_of + 4 * column[k + i]; }, cells);
        }
        return sum(total);
    }

    ALWAYS static inline void move(const Beside& part, double* moves, double length, double before, Count padded) {
        for (Count i = 0; i < padded; i += LANES) {
            const Doubles step = load(part.step + i) * length * load(part.inverse + i);
            store(part.w + i, load(part.w + i) + step);
            store(moves + i, load(moves + i) + before * step);
        }
    }

    // Learn from one row, of whose predictor a part is known; return the predictor before.
    double learn(Count row, const double* x, double other) {
        double *sums = state_.sums, &batches = sums[6];
        const Count stride = reader_.stride();
        const double weight = reader_.weight(row);
        const double eta = dot(dense_.w, x, stride) + other + reader_.offset(row);
        batches += 1.0;
        if (weight > 0.0) {
            const Derivatives at = slopes_(all(eta), all(reader_.label(row)));
            const double slope = weight * at.slope[0];
            const double norm = scale(dense_, x, stride) + scale(other_, value_, count_);
            sums[0] += weight;
            sums[1] += weight * norm;
            sums[2] += slope * slope / weight;
            sums[3] += weight * at.curvature[0];
            const double factor = -unit(), before = batches - 1.0;
            // Nearly always the steps are taken whole.
            const double change = direct(dense_, slope, factor, stride) + scatter(slope, factor, 1.0, before);
            const double reach = Slopes::self_concordance * __builtin_fabs(change);
            const double length = reach > 1.0 ? 1.0 / reach : 1.0;
            move(dense_, moves_, length, before, stride);
            if (reach > 1.0) scatter(slope, factor, length, before);
            sums[4] += weight;
        }
        sums[5] += 1.0;
        if (sums[5] >= static_cast<double>(state_.interval)) catch_up();
        return eta;
    }

    // Write what sizes are divided by, and values in these units; return the sum of their squares.
    ALWAYS static inline double scale(const Beside& part, const double* x, Count padded) {
        Doubles total{};
        for (Count i = 0; i < padded; i += LANES) {
            const Doubles known = load(part.known + i), inverse = 1.0 / where_less(Doubles{}, known, known, all(1.0));
            const Doubles scaled = load(x + i) * inverse;
            store(part.inverse + i, inverse);
            store(part.scaled + i, scaled);
            total += scaled * scaled;
        }
        return sum(total);
    }

    // Add to the squares and write the steps in units of the sizes; return how far they move the predictor.
    ALWAYS static inline double direct(const Beside& part, double slope, double factor, Count padded) {
        Doubles total{};
        for (Count i = 0; i < padded; i += LANES) {
            const Doubles scaled = load(part.scaled + i), gradient = slope * scaled;
            const Doubles squares = load(part.squares + i) + gradient * gradient;
            const Doubles step = gradient * factor / root(squares + TINY);
            store(part.squares + i, squares);
            store(part.step + i, step);
            total += step * scaled;
        }
        return sum(total);
    }

    // The length of a step of one coefficient, in units of the predictor.
    double unit() const {
        const double* sums = state_.sums;
        return RATE * __builtin_sqrt(sums[2] / larger_of(sums[1], 1e-300)) / larger_of(sums[3] / sums[0], 1e-12);
    }

    // Step along the penalty for the rows since the last time, no further than is stable.
    void catch_up() {
        double* sums = state_.sums;
        const double due = sums[4];
        sums[4] = sums[5] = 0.0;
        if (!(due > 0.0) || !penalised_) return;
        const double rate = unit() * due, before = larger_of(sums[6] - 1.0, 0.0);
        const double *strengths = penalty_.strengths, *majorant = strengths, *rise = nullptr;
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
            const Doubles moved =
                along(gradient, load(dense_.squares + j), load(dense_.known + j), rate, load(majorant_dense_ + j));
            store(dense_.w + j, w + moved);
            store(moves_ + j, load(moves_ + j) + before * moved);
        }
        for (Count j = lead_; j < penalty_.size; j += LANES) {
            // Up to a whole vector the place of "no level" stands in, without a penalty.
            const Count inside = penalty_.size - j < LANES ? penalty_.size - j : LANES;
            const auto place = [&](int i) { return state_.cells + 4 * (i < inside ? j + i : penalty_.size); };
            Doubles cells[4];
            take_cells(place, cells);
            const Doubles most = some(majorant + j, inside);
            const Doubles gradient = rise ? some(rise + j, inside) : most * cells[0];
            const Doubles moved = along(gradient, cells[1], cells[2], rate, most);
            cells[0] += moved;
            cells[3] += before * moved;
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

    // The step of coefficients: rate / (size^2 sqrt(squares)) times the gradient, over one and that times the majorant.
    ALWAYS static inline Doubles along(Doubles gradient, Doubles squares, Doubles known, double rate, Doubles majorant) {
        const Doubles none{}, met = where_less(none, squares, squares, all(1.0));
        const Doubles size = where_less(none, known, known, all(1.0));
        const Doubles moved = -rate * gradient / (size * size * root(met) + rate * majorant);
        return where_less(none, squares, moved, none);
    }

    Slopes slopes_;
    const QuadraticPenalty& penalty_;
    const NormalisedCells& state_;
    bool penalised_;
    Count lead_;
    RowReader reader_;
    Count most_;
    Numbers<double> numbers_;
    Numbers<std::int64_t> column_;
    Numbers<double> majorant_, flat_, rise_;
    Beside dense_, other_;
    double *moves_, *other_moves_, *value_, *rise_dense_, *majorant_dense_;
    Count count_ = 0;
    bool grown_ = false;  // whether the row's other entries are
};

void normalised(const Stretch& rows, const Stretch* shown, CompiledLoss loss, const QuadraticPenalty& penalty,
                const NormalisedCells& state, Count start, Count stop, double* predictors) {
    with_slopes(loss, [&](auto slopes) {
        NormalisedWalk<decltype(slopes)>(rows, slopes, penalty, state).follow(shown, start, stop, predictors);
    });
}

}  // namespace

extern const NormalisedKernels normalised_kernels = {normalised};

}  // namespace KERNEL_LEVEL
