// First and second derivatives of the losses of eight rows, as in batchlearn/objectives/losses: for steps, which need no values.
#pragma once

#include "epochs.hpp"
#include "vectors.hpp"

namespace KERNEL_LEVEL {
namespace {

struct Derivatives {
    Doubles slope, curvature;
};

struct SquaredSlopes {
    static constexpr double self_concordance = 0.0;
    explicit SquaredSlopes(double) {}
    Derivatives operator()(Doubles eta, Doubles label) const { return {eta - label, all(1.0)}; }
};

struct LogisticSlopes {
    static constexpr double self_concordance = 1.0;
    explicit LogisticSlopes(double) {}
    Derivatives operator()(Doubles eta, Doubles label) const {
        const Doubles sign = 1.0 - 2.0 * label, toward = sign * eta;
        const Doubles small = exponential(-magnitude(eta)), whole = 1.0 + small;
        const Doubles share = where_less(toward, all(0.0), small, all(1.0)) / whole;
        return {sign * share, small / (whole * whole)};
    }
};

struct PoissonSlopes {
    static constexpr double self_concordance = 1.0;
    explicit PoissonSlopes(double) {}
    Derivatives operator()(Doubles eta, Doubles label) const {
        const Doubles mean = exponential(eta);
        return {mean - label, mean};
    }
};

struct GammaSlopes {
    static constexpr double self_concordance = 1.0;
    explicit GammaSlopes(double) {}
    Derivatives operator()(Doubles eta, Doubles label) const {
        const Doubles ratio = label * exponential(-eta);
        return {1.0 - ratio, ratio};
    }
};

struct TweedieSlopes {
    static constexpr double self_concordance = 1.0;
    double power;
    explicit TweedieSlopes(double power) : power(power) {}
    Derivatives operator()(Doubles eta, Doubles label) const {
        const Doubles mean = exponential((2.0 - power) * eta), rest = label * exponential((1.0 - power) * eta);
        // No amount is none, however steep the exponential beside it.
        const Doubles amount = where_less(all(0.0), label, rest, all(0.0));
        return {mean - amount, (2.0 - power) * mean + (power - 1.0) * amount};
    }
};

struct HuberSlopes {
    static constexpr double self_concordance = 0.0;
    double threshold;
    explicit HuberSlopes(double threshold) : threshold(threshold) {}
    Derivatives operator()(Doubles eta, Doubles label) const {
        const Doubles rest = eta - label, inside = larger(smaller(rest, all(threshold)), all(-threshold));
        return {inside, where_less(all(threshold), magnitude(rest), all(0.0), all(1.0))};
    }
};

// Call a function with the loss that is meant.
template <class Function>
void with_slopes(CompiledLoss loss, Function function) {
    switch (loss.kind) {
        case LossKind::SQUARED: return function(SquaredSlopes(loss.parameter));
        case LossKind::LOGISTIC: return function(LogisticSlopes(loss.parameter));
        case LossKind::POISSON: return function(PoissonSlopes(loss.parameter));
        case LossKind::GAMMA: return function(GammaSlopes(loss.parameter));
        case LossKind::TWEEDIE: return function(TweedieSlopes(loss.parameter));
        case LossKind::HUBER: return function(HuberSlopes(loss.parameter));
    }
}

}  // namespace
}  // namespace KERNEL_LEVEL
