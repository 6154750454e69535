// Learning from one row after the other by online Newton.
#include "epochs.hpp"
#include "row_reader.hpp"
#include "slopes.hpp"

namespace KERNEL_LEVEL {
namespace {

// Rows whose rank-one updates of the inverse curvature are made in one sweep over it, which also multiplies the next ones.
constexpr int SWEPT = 4;

// P -= sum_b o_b o_b', then reach_b = P x_b, in WIDE vectors of columns from j on; all of SWEPT rows, `stride` apart.
template <int WIDE>
ALWAYS inline void sweep_columns(double* inverse, Count size, Count stride, Count j, const double* taken, const double* x,
                                 double* reach) {
    Doubles own[SWEPT][WIDE], total[SWEPT][WIDE] = {};
    for (int b = 0; b < SWEPT; ++b)
        for (int k = 0; k < WIDE; ++k) own[b][k] = load(taken + b * stride + j + k * LANES);
    for (Count i = 0; i < size; ++i) {
        double* place = inverse + i * stride + j;
        Doubles p[WIDE];
        for (int k = 0; k < WIDE; ++k) p[k] = load(place + k * LANES);
        for (int b = 0; b < SWEPT; ++b) {
            const Doubles one = all(-taken[b * stride + i]);
            for (int k = 0; k < WIDE; ++k) p[k] = fused(one, own[b][k], p[k]);
        }
        for (int k = 0; k < WIDE; ++k) store(place + k * LANES, p[k]);
        for (int b = 0; b < SWEPT; ++b) {
            const Doubles one = all(x[b * stride + i]);
            for (int k = 0; k < WIDE; ++k) total[b][k] = fused(one, p[k], total[b][k]);
        }
    }
    for (int b = 0; b < SWEPT; ++b)
        for (int k = 0; k < WIDE; ++k) store(reach + b * stride + j + k * LANES, total[b][k]);
}

// Two vectors at a time: a number of `taken` or `x` that is read serves both.
void sweep(double* inverse, Count size, Count stride, const double* taken, const double* x, double* reach) {
    Count j = 0;
    for (; j + 2 * LANES <= stride; j += 2 * LANES) sweep_columns<2>(inverse, size, stride, j, taken, x, reach);
    if (j < stride) sweep_columns<1>(inverse, size, stride, j, taken, x, reach);
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

    // Learn from the first rows of x, one after the other: `eta` holds their offsets, and comes back with the predictors
    // before each row. Those of `views`, if any, `stride` numbers apart, are written to `seen`.
    template <class Slopes>
    void learn(const Slopes& slopes, int count, double* eta, const double* label, const double* weight,
               const double* views = nullptr, double* seen = nullptr) {
        // 1. P x of all of them, after what the rows before took; predictors, slopes there, and products x_t'P x_b.
        sweep(inverse_, size_, stride_, taken_, x_, reach_);
        Doubles sums[2 * LANES] = {};
        for (Count i = 0; i < stride_; i += LANES) {
            Doubles *next = sums, x[SWEPT];
            for (int t = 0; t < SWEPT; ++t) x[t] = load(x_ + t * stride_ + i);
            for (int t = 0; t < SWEPT; ++t, ++next) *next = fused(x[t], load(w_ + i), *next);
            for (int b = 0; b < SWEPT; ++b) {
                const Doubles reach = load(reach_ + b * stride_ + i);
                for (int t = b; t < SWEPT; ++t, ++next) *next = fused(x[t], reach, *next);
            }
        }
        double total[2 * LANES], met[SWEPT][SWEPT], gain[SWEPT] = {}, along[SWEPT] = {}, start[LANES] = {}, of[LANES] = {};
        store(total, sums_of(sums));
        store(total + LANES, sums_of(sums + LANES));
        const double* next = total + SWEPT;
        for (int b = 0; b < SWEPT; ++b)
            for (int t = b; t < SWEPT; ++t) met[t][b] = *next++;
        for (int b = 0; b < LANES; ++b) {
            if (b < count) eta[b] += total[b];
            start[b] = b < count ? eta[b] : start[0], of[b] = b < count ? label[b] : of[0];
        }
        const Derivatives at = slopes(load(start), load(of));
        // 2. What one row takes from those after it, in numbers: met[t][b] becomes x_t'P x_b for the P that row b meets.
        for (int b = 0; b < count; ++b) {
            for (int t = b; t < count; ++t)
                for (int s = 0; s < b; ++s) met[t][b] -= gain[s] * met[b][s] * met[t][s];
            const double reach = met[b][b];
            if (!(reach > 0.0) || weight[b] == 0.0) continue;
            const Proximal found =
                proximal(slopes, start[b], at.slope[b], at.curvature[b], eta[b], label[b], weight[b], reach);
            gain[b] = found.curvature * found.rest;
            along[b] = found.along;
            for (int t = b + 1; t < count; ++t) eta[t] += along[b] * met[t][b];
        }
        // 3. The same in coefficients.
        double pull[SWEPT][SWEPT], share[SWEPT];
        for (int b = 0; b < SWEPT; ++b) {
            for (int s = 0; s < b; ++s) pull[b][s] = -gain[s] * met[b][s];
            share[b] = __builtin_sqrt(gain[b]);
        }
        Doubles views_of[SWEPT] = {};
        for (Count i = 0; i < stride_; i += LANES) {
            Doubles w = load(w_ + i), own[SWEPT];
            for (int b = 0; b < SWEPT; ++b) {
                own[b] = load(reach_ + b * stride_ + i);
                for (int s = 0; s < b; ++s) own[b] = fused(all(pull[b][s]), own[s], own[b]);
                if (views) views_of[b] = fused(w, load(views + b * stride_ + i), views_of[b]);
                w = fused(all(along[b]), own[b], w);
                store(taken_ + b * stride_ + i, share[b] * own[b]);
            }
            store(w_ + i, w);
        }
        if (views)
            for (int b = 0; b < count; ++b) seen[b] = sum(views_of[b]);
    }

    // What the last rows took.
    void settle() {
        clear();
        sweep(inverse_, size_, stride_, taken_, x_, reach_);
        for (Count i = 0; i < SWEPT * stride_; ++i) taken_[i] = 0.0;
    }

    // Number j on the diagonal of P.
    double variance(Count j) const {
        double value = inverse_[j * stride_ + j];
        for (int b = 0; b < SWEPT; ++b) value -= taken_[b * stride_ + j] * taken_[b * stride_ + j];
        return value;
    }

    // Forget the rows that were met.
    void clear() {
        for (Count i = 0; i < SWEPT * stride_; ++i) x_[i] = 0.0;
    }

   private:
    Count size_, stride_;
    double *parameters_, *given_;
    Numbers<double> numbers_;
    double *inverse_, *taken_, *x_, *reach_, *w_;
};

// Write whole rows of the design matrix into zeros, `stride` numbers apart.
inline void whole_rows(const RowReader& reader, Count first, int count, std::int64_t* column, double* value, double* out,
                       Count stride) {
    reader.dense(first, count, out, stride);
    for (int b = 0; b < count; ++b) {
        const Count many = reader.entries(first + b, column, value);
        for (Count k = 0; k < many; ++k) out[b * stride + column[k]] += value[k];
    }
}

// The penalty of each coefficient in turn is a row of its own: its indicator, of label 0 and a squared loss. They are
// learned together, and wait while none would move its coefficient by more than next to nothing.
void pay(NewtonWalk& walk, const PenaltyTurns& turns, Count size) {
    const Count columns = size - turns.lead, many = columns < turns.in_turn ? columns : turns.in_turn;
    const Count first = *turns.turn * turns.in_turn;
    *turns.turn += 1;
    const auto place = [&](Count k) { return turns.lead + (first + k) % columns; };
    const auto owed = [&](Count j) { return turns.strengths[j] * (*turns.weight - turns.paid[j]); };
    bool due = false;
    for (Count k = 0; k < many; ++k) due |= owed(place(k)) * walk.variance(place(k)) > turns.least;
    if (!due) return;
    const double none[SWEPT] = {};
    for (Count k = 0; k < many; k += SWEPT) {
        const int count = static_cast<int>(many - k < SWEPT ? many - k : SWEPT);
        double eta[SWEPT] = {}, strength[SWEPT];
        walk.clear();
        for (int b = 0; b < count; ++b) {
            const Count j = place(k + b);
            walk.x()[b * walk.stride() + j] = 1.0, strength[b] = owed(j), turns.paid[j] = *turns.weight;
        }
        walk.learn(PlainSlopes<Squared>(), count, eta, none, strength);
    }
}

template <class Slopes>
void follow_newton(const Stretch& rows, const Stretch* shown, const Slopes& slopes, NewtonWalk& walk,
                   const PenaltyTurns& turns, double* predictors) {
    const RowReader reader(rows);
    static const Stretch none{};
    const RowReader views(shown ? *shown : none);
    const Count most = reader.most_entries() + (shown ? views.most_entries() : 0) + 1, stride = walk.stride();
    Numbers<std::int64_t> column(most);
    Numbers<double> value(most), view(shown ? SWEPT * stride : 0);
    for (Count first = 0; first < rows.rows; first += SWEPT) {
        const int count = static_cast<int>(rows.rows - first < SWEPT ? rows.rows - first : SWEPT);
        double eta[SWEPT], label[SWEPT], weight[SWEPT], seen[SWEPT];
        // Dense columns are written whole.
        if (rows.size > rows.lead() || count < SWEPT) walk.clear();
        if (shown)
            for (Count i = 0; i < SWEPT * stride; ++i) view[i] = 0.0;
        whole_rows(reader, first, count, column, value, walk.x(), stride);
        if (shown) whole_rows(views, first, count, column, value, view, stride);
        for (int b = 0; b < count; ++b)
            eta[b] = reader.offset(first + b), label[b] = reader.label(first + b), weight[b] = reader.weight(first + b);
        walk.learn(slopes, count, eta, label, weight, shown ? static_cast<double*>(view) : nullptr, seen);
        for (int b = 0; b < count; ++b) {
            predictors[first + b] = shown ? seen[b] + views.offset(first + b) : eta[b];
            if (turns.strengths) *turns.weight += weight[b];
        }
        if (turns.strengths && (first + count) % turns.block == 0) pay(walk, turns, rows.size);
    }
    walk.settle();
}

void newton(const Stretch& rows, const Stretch* shown, CompiledLoss loss, double* parameters, double* inverse,
            const PenaltyTurns& turns, double* predictors) {
    NewtonWalk walk(rows, parameters, inverse);
    with_slopes(loss, [&](auto slopes) { follow_newton(rows, shown, slopes, walk, turns, predictors); });
}

}  // namespace

extern const NewtonKernels newton_kernels = {newton};

}  // namespace KERNEL_LEVEL
