// First and second derivatives of the losses of eight rows, for steps, which need no values; and the step of one row.
#pragma once

#include "epochs.hpp"
#include "losses.hpp"
#include "vectors.hpp"

namespace KERNEL_LEVEL {
namespace {

struct Derivatives {
    Doubles slope, curvature;
};

// A loss without a number of its own.
template <class Loss>
struct PlainSlopes {
    static constexpr double self_concordance = Loss::self_concordance;
    Derivatives operator()(Doubles eta, Doubles label) const {
        const AtRow row = Loss::at(eta, label);
        return {row.slope, row.curvature};
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

// A step is no longer than one over the constant, and a first row may send a predictor to where exp ends.
constexpr int PROXIMAL_STEPS = 1000;

// (z - eta) / reach, weight times curvature at z, and 1 / (1 + reach * that).
struct Proximal {
    double along, curvature, rest;
};

// The least point z of weight * loss(z) + (z - eta)^2 / (2 reach), by Newton steps short enough to be safe, from a point
// whose slope and curvature are known.
template <class Slopes>
__attribute__((always_inline)) inline Proximal proximal(const Slopes& slopes, double point, double slope, double curvature,
                                                        double eta, double label, double weight, double reach) {
    for (int k = 0;; ++k) {
        const double residual = point - eta + reach * (weight * slope), bend = weight * curvature;
        const double rest = 1.0 / (1.0 + reach * bend);
        double change = -residual * rest;
        const double size = Slopes::self_concordance * __builtin_fabs(change);
        // Where slope and curvature overflow neither is a number, but the side is known.
        if (Slopes::self_concordance > 0.0 && !(size <= 1.0))
            change = (residual > 0.0 ? -1.0 : 1.0) / Slopes::self_concordance;
        // The slope there says the step as well: no quotient by the reach to wait for.
        if (size < 0.05) return {-weight * (slope + curvature * change), bend, rest};
        point += change;
        if (k + 1 == PROXIMAL_STEPS) return {(point - eta) / reach, bend, rest};
        const Derivatives at = slopes(all(point), all(label));
        slope = at.slope[0], curvature = at.curvature[0];
    }
}

// Call a function with the loss that is meant.
template <class Function>
void with_slopes(CompiledLoss loss, Function function) {
    switch (loss.kind) {
        case LossKind::SQUARED: return function(PlainSlopes<Squared>());
        case LossKind::LOGISTIC: return function(PlainSlopes<Logistic>());
        case LossKind::POISSON: return function(PlainSlopes<Poisson>());
        case LossKind::GAMMA: return function(PlainSlopes<Gamma>());
        case LossKind::TWEEDIE: return function(TweedieSlopes(loss.parameter));
        case LossKind::HUBER: return function(HuberSlopes(loss.parameter));
    }
}

}  // namespace
}  // namespace KERNEL_LEVEL
