// Learning from one row after the other by online Newton.
#include "epochs.hpp"
#include "row_reader.hpp"
#include "slopes.hpp"

namespace KERNEL_LEVEL {
namespace {

// Rows whose rank-one updates of the inverse curvature are made in one sweep over it, which also multiplies the next ones.
constexpr int SWEPT = 4;

// P -= sum_b o_b o_b', then reach_b = P x_b; all of SWEPT rows, `stride` numbers apart.
void sweep(double* inverse, Count size, Count stride, const double* taken, const double* x, double* reach) {
    for (Count j = 0; j < stride; j += LANES) {
        Doubles own[SWEPT], total[SWEPT] = {};
        for (int b = 0; b < SWEPT; ++b) own[b] = load(taken + b * stride + j);
        for (Count i = 0; i < size; ++i) {
            double* place = inverse + i * stride + j;
            Doubles p = load(place);
            for (int b = 0; b < SWEPT; ++b) p = fused(all(-taken[b * stride + i]), own[b], p);
            store(place, p);
            for (int b = 0; b < SWEPT; ++b) total[b] = fused(all(x[b * stride + i]), p, total[b]);
        }
        for (int b = 0; b < SWEPT; ++b) store(reach + b * stride + j, total[b]);
    }
}

class NewtonWalk {
   public:
    NewtonWalk(const Stretch& rows, double* parameters, double* inverse)
        : size_(rows.size),
          // Not a multiple of a page: rows of the matrix would fall on the same lines of the cache.
          stride_(rounded_up(size_) % 64 ? rounded_up(size_) : rounded_up(size_) + LANES),
          parameters_(parameters),
          given_(inverse),
          numbers_((size_ + 3 * SWEPT + 2) * stride_) {
        double* next = numbers_;
        inverse_ = next, next += size_ * stride_;
        taken_ = next, next += SWEPT * stride_;
        x_ = next, next += SWEPT * stride_;
        reach_ = next, next += SWEPT * stride_;
        w_ = next;
        for (Count i = 0; i < size_; ++i) {
            w_[i] = parameters[i];
            for (Count j = 0; j < size_; ++j) inverse_[i * stride_ + j] = inverse[i * size_ + j];
        }
    }

    ~NewtonWalk() {
        for (Count i = 0; i < size_; ++i) {
            parameters_[i] = w_[i];
            for (Count j = 0; j < size_; ++j) given_[i * size_ + j] = inverse_[i * stride_ + j];
        }
    }

    Count stride() const { return stride_; }
    double* x() const { return x_; }
    double predictor(const double* x) const { return dot(w_, x, stride_); }

    // P x of the next rows, after what the rows before them took.
    void meet() {
        sweep(inverse_, size_, stride_, taken_, x_, reach_);
        for (Count i = 0; i < SWEPT * stride_; ++i) taken_[i] = 0.0;
    }

    // Learn from row b of those that are met, whose predictor is eta.
    template <class Slopes>
    void learn(int b, const Slopes& slopes, double eta, double label, double weight) {
        const double* x = x_ + b * stride_;
        double* own = reach_ + b * stride_;
        for (int s = 0; s < b; ++s) {
            const double* before = taken_ + s * stride_;
            add_times(own, -dot(before, x, stride_), before, stride_);
        }
        const double reach = dot(own, x, stride_);
        if (!(reach > 0.0) || weight == 0.0) return;
        const Proximal found = proximal(slopes, eta, label, weight, reach);
        const double gain = found.curvature / (1.0 + found.curvature * reach), share = __builtin_sqrt(gain);
        const double along = found.step / reach;
        double* taken = taken_ + b * stride_;
        for (Count i = 0; i < stride_; i += LANES) {
            const Doubles direction = load(own + i);
            store(w_ + i, load(w_ + i) + along * direction);
            store(taken + i, share * direction);
        }
    }

    // Forget the rows that were met.
    void clear() {
        for (Count i = 0; i < SWEPT * stride_; ++i) x_[i] = 0.0;
    }

    double parameter(Count j) const { return w_[j]; }

   private:
    Count size_, stride_;
    double *parameters_, *given_;
    Numbers<double> numbers_;
    double *inverse_, *taken_, *x_, *reach_, *w_;
};

// Write the whole row of the design matrix into zeros.
inline void whole_row(const RowReader& reader, Count row, std::int64_t* column, double* value, double* out) {
    reader.dense(row, 1, out, 0);
    const Count count = reader.entries(row, column, value);
    for (Count k = 0; k < count; ++k) out[column[k]] += value[k];
}

// The penalty of each coefficient that is due is a row of its own: its indicator, of label 0 and a squared loss.
void pay(NewtonWalk& walk, const PenaltyTurns& turns, Count size) {
    const Count columns = size - turns.lead, many = columns < turns.in_turn ? columns : turns.in_turn;
    Count due[SWEPT], count = 0;
    const auto learn = [&] {
        walk.meet();
        for (Count b = 0; b < count; ++b) {
            const double strength = turns.strengths[due[b]] * (*turns.weight - turns.paid[due[b]]);
            walk.learn(static_cast<int>(b), PlainSlopes<Squared>(), walk.parameter(due[b]), 0.0, strength);
            turns.paid[due[b]] = *turns.weight;
        }
        walk.clear();
        count = 0;
    };
    walk.clear();
    for (Count k = 0; k < many; ++k) {
        const Count place = turns.lead + (*turns.turn * turns.in_turn + k) % columns;
        if (!(turns.strengths[place] * (*turns.weight - turns.paid[place]) > 0.0)) continue;
        walk.x()[count * walk.stride() + place] = 1.0;
        due[count++] = place;
        if (count == SWEPT) learn();
    }
    if (count) learn();
    *turns.turn += 1;
}

template <class Slopes>
void follow_newton(const Stretch& rows, const Stretch* shown, const Slopes& slopes, NewtonWalk& walk,
                   const PenaltyTurns& turns, double* predictors) {
    const RowReader reader(rows);
    static const Stretch none{};
    const RowReader views(shown ? *shown : none);
    const Count most = reader.most_entries() + (shown ? views.most_entries() : 0) + 1, stride = walk.stride();
    Numbers<std::int64_t> column(most);
    Numbers<double> value(most), view(shown ? stride : 0);
    for (Count first = 0; first < rows.rows; first += SWEPT) {
        const Count count = rows.rows - first < SWEPT ? rows.rows - first : SWEPT;
        walk.clear();
        for (Count b = 0; b < count; ++b) whole_row(reader, first + b, column, value, walk.x() + b * stride);
        walk.meet();
        for (Count b = 0; b < count; ++b) {
            const Count row = first + b;
            const double eta = walk.predictor(walk.x() + b * stride) + reader.offset(row);
            predictors[row] = eta;
            if (shown) {
                for (Count i = 0; i < stride; ++i) view[i] = 0.0;
                whole_row(views, row, column, value, view);
                predictors[row] = walk.predictor(view) + views.offset(row);
            }
            walk.learn(static_cast<int>(b), slopes, eta, reader.label(row), reader.weight(row));
            if (turns.strengths) *turns.weight += reader.weight(row);
        }
        if (turns.strengths && (first + count) % turns.block == 0) pay(walk, turns, rows.size);
    }
    walk.clear();
    walk.meet();  // what the last rows took
}

void newton(const Stretch& rows, const Stretch* shown, CompiledLoss loss, double* parameters, double* inverse,
            const PenaltyTurns& turns, double* predictors) {
    NewtonWalk walk(rows, parameters, inverse);
    with_slopes(loss, [&](auto slopes) { follow_newton(rows, shown, slopes, walk, turns, predictors); });
}

}  // namespace

extern const NewtonKernels newton_kernels = {newton};

}  // namespace KERNEL_LEVEL
