// Learning from batch after batch: steps along the gradient, and variance-reduced Newton steps.
#include "epochs.hpp"
#include "row_reader.hpp"
#include "slopes.hpp"

namespace KERNEL_LEVEL {
namespace {

inline Count longest(const Batches& batches) {
    Count most = 0;
    for (Count b = 0; b < batches.count; ++b) {
        const Count length = batches.stops[b] - batches.starts[b];
        most = length > most ? length : most;
    }
    return most;
}

// The rows of one batch, read once: products with them, and of them.
class Batch {
   public:
    Batch(const Stretch& rows, Count most)
        : reader_(rows),
          lead_(rows.lead()),
          stride_(reader_.stride()),
          most_(reader_.most_entries() + 1),
          plain_(most_ == 1),
          dense_(most * stride_),
          w_(stride_),
          column_(plain_ ? 0 : most * most_),
          value_(plain_ ? 0 : most * most_),
          count_(most) {}

    void read(Count start, Count stop) {
        start_ = start;
        rows_ = stop - start;
        reader_.dense(start, rows_, dense_, stride_);
        if (plain_) return;
        for (Count r = 0; r < rows_; ++r)
            count_[r] = reader_.entries(start + r, column_ + r * most_, value_ + r * most_);
    }

    Count rows() const { return rows_; }

    // eta = X w, and the offsets where they are wanted.
    void predictors(const double* w, double* eta, bool offsets) {
        for (Count j = 0; j < lead_; ++j) w_[j] = w[j];
        for (Count r = 0; r < rows_; ++r) {
            double total = dot(w_, dense_ + r * stride_, stride_);
            for (Count k = 0; k < count_[r]; ++k) total += w[column_[r * most_ + k]] * value_[r * most_ + k];
            eta[r] = offsets ? total + reader_.offset(start_ + r) : total;
        }
    }

    // slope = weight times the derivative of the loss.
    template <class Slopes>
    void slopes(const Slopes& at, const double* eta, double* slope) const {
        for (Count r = 0; r < rows_; r += LANES) {
            const Count some = rows_ - r < LANES ? rows_ - r : LANES;
            double predictor[LANES] = {}, label[LANES] = {}, found[LANES];
            for (Count k = 0; k < LANES; ++k) {
                // What is beyond the rows repeats the first: a number that the loss has a meaning for.
                predictor[k] = eta[k < some ? r + k : r];
                label[k] = reader_.label(start_ + (k < some ? r + k : r));
            }
            store(found, at(load(predictor), load(label)).slope);
            for (Count k = 0; k < some; ++k) slope[r + k] = reader_.weight(start_ + r + k) * found[k];
        }
    }

    // total += X' v in the dense coefficients, padded.
    void add_dense(const double* v, double* total) const {
        for (Count j = 0; j < stride_; j += LANES) {
            Doubles sums = load(total + j), others{};
            Count r = 0;
            for (; r + 2 <= rows_; r += 2) {
                sums += v[r] * load(dense_ + r * stride_ + j);
                others += v[r + 1] * load(dense_ + (r + 1) * stride_ + j);
            }
            if (r < rows_) sums += v[r] * load(dense_ + r * stride_ + j);
            store(total + j, sums + others);
        }
    }

    // Call a function with coefficient and value times v of each other entry.
    template <class Function>
    void each_entry(const double* v, Function function) const {
        if (plain_) return;
        for (Count r = 0; r < rows_; ++r)
            for (Count k = 0; k < count_[r]; ++k) function(column_[r * most_ + k], v[r] * value_[r * most_ + k]);
    }

    double weight(Count r) const { return reader_.weight(start_ + r); }
    Count stride() const { return stride_; }
    Count lead() const { return lead_; }

   private:
    RowReader reader_;
    Count lead_, stride_, most_;
    bool plain_;  // no entries but the dense ones
    Numbers<double> dense_, w_;
    Numbers<std::int64_t> column_;
    Numbers<double> value_;
    Numbers<Count> count_;
    Count start_ = 0, rows_ = 0;
};

void along_penalty(const QuadraticPenalty& penalty, const GradientWalk& walk, double* rise) {
    double &batches = walk.sums[0], &due = walk.sums[1], &waiting = walk.sums[2];
    penalty_gradient(penalty, walk.parameters, rise);
    for (Count j = 0; j < penalty.size; ++j) {
        const double moved = -due * rise[j] / (1.0 + due * walk.majorant[j]);
        walk.parameters[j] += moved;
        walk.moves[j] += batches * moved;
    }
    due = waiting = 0.0;
}

void gradient(const Stretch& rows, CompiledLoss loss, const QuadraticPenalty& penalty, const Batches& batches,
              const GradientWalk& walk, bool last) {
    const Count most = longest(batches);
    Batch batch(rows, most);
    Numbers<double> eta(most), slope(most), total(batch.stride()), rise(penalty.size);
    with_slopes(loss, [&](auto slopes) {
        for (Count b = 0; b < batches.count; ++b) {
            batch.read(batches.starts[b], batches.stops[b]);
            batch.predictors(walk.parameters, eta, true);
            batch.slopes(slopes, eta, slope);
            const double factor = -batches.rates[b] / batches.weights[b], before = walk.sums[0];
            for (Count r = 0; r < batch.rows(); ++r) slope[r] *= factor;
            for (Count j = 0; j < batch.stride(); ++j) total[j] = 0.0;
            batch.add_dense(slope, total);
            for (Count j = 0; j < batch.lead(); ++j) {
                walk.parameters[j] += total[j];
                walk.moves[j] += before * total[j];
            }
            batch.each_entry(slope, [&](Count column, double step) {
                walk.parameters[column] += step;
                walk.moves[column] += before * step;
            });
            walk.sums[1] += batches.rates[b];
            walk.sums[2] += 1.0;
            if (walk.sums[2] >= static_cast<double>(walk.interval)) along_penalty(penalty, walk, rise);
            walk.sums[0] += 1.0;
        }
    });
    if (last) along_penalty(penalty, walk, rise);
}

typedef float Sixteen __attribute__((vector_size(64)));

// result = A x in single precision, (size, size).
void single_product(const float* matrix, const float* x, float* result, Count size) {
    for (Count i = 0; i < size; ++i) {
        const float* row = matrix + i * size;
        Sixteen first{}, second{};
        Count j = 0;
        for (; j + 32 <= size; j += 32) {
            Sixteen a, b, c, d;
            std::memcpy(&a, row + j, sizeof a);
            std::memcpy(&b, x + j, sizeof b);
            std::memcpy(&c, row + j + 16, sizeof c);
            std::memcpy(&d, x + j + 16, sizeof d);
            first += a * b;
            second += c * d;
        }
        first += second;
        float total = 0.0f;
        for (; j < size; ++j) total += row[j] * x[j];
        for (int k = 0; k < 16; ++k) total += first[k];
        result[i] = total;
    }
}

// The weight of the mean's newest point after t batches is this over t; as in batchlearn/kernels/variance_reduced.py.
constexpr double DECAY = 3.0;

class ReducedSteps {
   public:
    ReducedSteps(const Stretch& rows, const QuadraticPenalty& penalty, const ReducedWalk& walk, Count most)
        : penalty_(penalty),
          walk_(walk),
          size_(rows.size),
          batch_(rows, most),
          still_(walk.anchor ? rows.rows : 0),
          eta_(most),
          slope_(most),
          change_(most),
          moved_(most),
          total_(batch_.stride()),
          gradient_(size_),
          direction_(size_),
          point_(size_),
          unit_(size_),
          product_(size_) {}

    // The slopes of all rows at the anchor.
    template <class Slopes>
    void look_back(const Slopes& slopes, const Batches& batches) {
        for (Count b = 0; b < batches.count; ++b) {
            batch_.read(batches.starts[b], batches.stops[b]);
            batch_.predictors(walk_.anchor, eta_, true);
            batch_.slopes(slopes, eta_, still_ + batches.starts[b]);
        }
    }

    template <class Slopes>
    void step(const Slopes& slopes, Count start, Count stop, double weight) {
        // 1. The gradient of the batch; with an anchor, without the batch's own noise.
        batch_.read(start, stop);
        batch_.predictors(walk_.parameters, eta_, true);
        batch_.slopes(slopes, eta_, slope_);
        for (Count r = 0; r < batch_.rows(); ++r)
            moved_[r] = (walk_.anchor ? slope_[r] - still_[start + r] : slope_[r]) / weight;
        for (Count j = 0; j < size_; ++j) point_[j] = walk_.anchor ? walk_.parameters[j] - walk_.anchor[j] : walk_.parameters[j];
        penalty_gradient(penalty_, point_, gradient_);
        for (Count j = 0; j < batch_.stride(); ++j) total_[j] = 0.0;
        batch_.add_dense(moved_, total_);
        for (Count j = 0; j < batch_.lead(); ++j) gradient_[j] += total_[j];
        batch_.each_entry(moved_, [&](Count column, double step) { gradient_[column] += step; });
        if (walk_.anchor)
            for (Count j = 0; j < size_; ++j) gradient_[j] += walk_.gradient[j];
        // 2. The direction, in single precision; no further than a reach of one.
        double largest = 0.0;
        for (Count j = 0; j < size_; ++j) largest = __builtin_fabs(gradient_[j]) > largest ? __builtin_fabs(gradient_[j]) : largest;
        if (largest == 0.0) largest = 1.0;
        for (Count j = 0; j < size_; ++j) unit_[j] = static_cast<float>(gradient_[j] / largest);
        single_product(walk_.inverse, unit_, product_, size_);
        for (Count j = 0; j < size_; ++j) direction_[j] = -walk_.length * (static_cast<double>(product_[j]) * largest);
        batch_.predictors(direction_, change_, false);
        double reach = 0.0;
        for (Count r = 0; r < batch_.rows(); ++r) reach = __builtin_fabs(change_[r]) > reach ? __builtin_fabs(change_[r]) : reach;
        reach *= Slopes::self_concordance;
        if (reach > 1.0) {
            for (Count j = 0; j < size_; ++j) direction_[j] /= reach;
            for (Count r = 0; r < batch_.rows(); ++r) change_[r] /= reach;
        }
        // 3. No further than the lowest point of the batch along it.
        for (Count r = 0; r < batch_.rows(); ++r) eta_[r] += change_[r];
        batch_.slopes(slopes, eta_, moved_);
        double bend = 0.0, fall = 0.0, bent = 0.0;
        for (Count r = 0; r < batch_.rows(); ++r) bend += (moved_[r] - slope_[r]) * change_[r];
        penalty_gradient(penalty_, direction_, point_);
        for (Count j = 0; j < size_; ++j) {
            fall -= gradient_[j] * direction_[j];
            bent += direction_[j] * point_[j];
        }
        const double curvature = bend / weight + bent;
        const double shorter = curvature > fall ? (fall > 0.0 ? fall : 0.0) / curvature : 1.0;
        // 4. The point and the mean.
        const double count = static_cast<double>(++*walk_.count), share = DECAY / (count + DECAY - 1.0);
        const double newest = share < 1.0 ? share : 1.0;
        for (Count j = 0; j < size_; ++j) {
            walk_.parameters[j] += direction_[j] * shorter;
            walk_.mean[j] += newest * (walk_.parameters[j] - walk_.mean[j]);
        }
    }

   private:
    const QuadraticPenalty& penalty_;
    const ReducedWalk& walk_;
    Count size_;
    Batch batch_;
    Numbers<double> still_, eta_, slope_, change_, moved_, total_, gradient_, direction_, point_;
    Numbers<float> unit_, product_;
};

void reduced(const Stretch& rows, CompiledLoss loss, const QuadraticPenalty& penalty, const Batches& batches,
             const ReducedWalk& walk) {
    ReducedSteps steps(rows, penalty, walk, longest(batches));
    with_slopes(loss, [&](auto slopes) {
        if (walk.anchor) steps.look_back(slopes, batches);
        for (Count b = 0; b < batches.count; ++b)
            steps.step(slopes, batches.starts[b], batches.stops[b], batches.weights[b]);
    });
}

}  // namespace

extern const BatchKernels batch_kernels = {gradient, reduced};

}  // namespace KERNEL_LEVEL
