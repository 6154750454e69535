// Losses of eight rows at their predictors: value, slope, curvature, and the largest number met while the slope is
// computed. The same functions as in batchlearn/objectives/losses; the exponential is within a unit in the last place.
#pragma once

#include "rows.hpp"
#include "vectors.hpp"

namespace KERNEL_LEVEL {
namespace {

struct AtRow {
    Doubles value, slope, curvature, size;
};

struct Squared {
    static constexpr double self_concordance = 0.0;
    static AtRow at(Doubles eta, Doubles label) {
        const Doubles rest = eta - label;
        return {0.5 * rest * rest, rest, all(1.0), magnitude(rest)};
    }
};

struct Logistic {
    static constexpr double self_concordance = 1.0;
    static AtRow at(Doubles eta, Doubles label) {
        const Doubles sign = 1.0 - 2.0 * label, toward = sign * eta;
        const Doubles small = exponential(-magnitude(eta)), whole = 1.0 + small, part = 1.0 / whole;
        const Doubles share = where_less(toward, all(0.0), small, all(1.0)) * part;
        // ln(whole), and what was lost of small in it.
        const Doubles value = logarithm(whole) + (small - (whole - 1.0)) * part + larger(toward, all(0.0));
        return {value, sign * share, small * (part * part), share};
    }
};

struct Poisson {
    static constexpr double self_concordance = 1.0;
    static AtRow at(Doubles eta, Doubles label) {
        const Doubles mean = exponential(eta);
        bool none = true;  // where counts are rare most of eight rows have none
        for (int k = 0; k < LANES; ++k) none &= !(0.0 < label[k]);
        if (none) return {mean, mean - label, mean, mean + label};
        const Doubles count = where_less(all(0.0), label, label, all(1.0));
        const Doubles deviance = count * exponential_less_its_start(eta - logarithm(count));
        return {where_less(all(0.0), label, deviance, mean), mean - label, mean, mean + label};
    }
};

struct Gamma {
    static constexpr double self_concordance = 1.0;
    static AtRow at(Doubles eta, Doubles label) {
        const Doubles ratio = label * exponential(-eta);
        return {exponential_less_its_start(logarithm(label) - eta), 1.0 - ratio, ratio, 1.0 + ratio};
    }
};

}  // namespace
}  // namespace KERNEL_LEVEL
