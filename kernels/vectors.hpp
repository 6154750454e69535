// Eight numbers at a time, in every instruction set: the same operations in the same order, so the same bits.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace KERNEL_LEVEL {
namespace {

constexpr int LANES = 8;

typedef double Doubles __attribute__((vector_size(8 * LANES)));
typedef std::int64_t Integers __attribute__((vector_size(8 * LANES)));
typedef std::uint64_t Naturals __attribute__((vector_size(8 * LANES)));
typedef float Floats __attribute__((vector_size(4 * LANES)));

inline Doubles load(const double* from) {
    Doubles values;
    std::memcpy(&values, from, sizeof values);
    return values;
}

inline void store(double* to, Doubles values) { std::memcpy(to, &values, sizeof values); }

inline Doubles all(double value) { return value - Doubles{}; }

inline Integers bits(Doubles values) { return (Integers)values; }

inline Doubles from_bits(Integers values) { return (Doubles)values; }

// As many lanes as a register has: compilers take comparisons of longer vectors apart into single numbers.
#if defined(__AVX512F__)
constexpr int PART = 8;
#elif defined(__AVX2__)
constexpr int PART = 4;
#else
constexpr int PART = 2;
#endif
typedef double Part __attribute__((vector_size(8 * PART)));

// yes where a < b, else no.
inline Doubles where_less(Doubles a, Doubles b, Doubles yes, Doubles no) {
    Part parts[4][LANES / PART];
    std::memcpy(parts[0], &a, sizeof a);
    std::memcpy(parts[1], &b, sizeof b);
    std::memcpy(parts[2], &yes, sizeof yes);
    std::memcpy(parts[3], &no, sizeof no);
    for (int i = 0; i < LANES / PART; ++i) parts[0][i] = parts[0][i] < parts[1][i] ? parts[2][i] : parts[3][i];
    Doubles result;
    std::memcpy(&result, parts[0], sizeof result);
    return result;
}

// Whether a < b anywhere.
inline bool any_less(Doubles a, Doubles b) {
#if defined(__AVX512F__)
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ) != 0;
#else
    const Doubles where = where_less(a, b, all(1.0), Doubles{});
    std::int64_t found = 0;
    for (int i = 0; i < LANES; ++i) found |= bits(where)[i];
    return found != 0;
#endif
}

// a b + c, rounded once where the instruction set can: only for sums whose last bits may depend on it.
inline Doubles fused(Doubles a, Doubles b, Doubles c) {
#if defined(__AVX512F__)
    return (Doubles)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
    __m256d parts[3][2];
    std::memcpy(parts[0], &a, sizeof a);
    std::memcpy(parts[1], &b, sizeof b);
    std::memcpy(parts[2], &c, sizeof c);
    for (int i = 0; i < 2; ++i) parts[2][i] = _mm256_fmadd_pd(parts[0][i], parts[1][i], parts[2][i]);
    std::memcpy(&c, parts[2], sizeof c);
    return c;
#else
    return a * b + c;
#endif
}

inline Doubles magnitude(Doubles x) { return from_bits(bits(x) & INT64_C(0x7fffffffffffffff)); }

inline Doubles larger(Doubles a, Doubles b) { return where_less(b, a, a, b); }

inline Doubles smaller(Doubles a, Doubles b) { return where_less(a, b, a, b); }

// The sum of the lanes, always in the same order.
inline double sum(Doubles x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }

// The sums of the lanes of eight vectors, always in the same order.
inline Doubles sums_of(const Doubles x[LANES]) {
    Doubles pairs[LANES / 2], fours[LANES / 4];
    for (int i = 0; i < LANES / 2; ++i)
        pairs[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14) +
                   __builtin_shufflevector(x[2 * i], x[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    for (int i = 0; i < LANES / 4; ++i)
        fours[i] = __builtin_shufflevector(pairs[2 * i], pairs[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13) +
                   __builtin_shufflevector(pairs[2 * i], pairs[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    return __builtin_shufflevector(fours[0], fours[1], 0, 1, 2, 3, 8, 9, 10, 11) +
           __builtin_shufflevector(fours[0], fours[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

// 1.5 * 2^52: added to a number it leaves the nearest integer in the last bits.
constexpr double ROUNDER = 6755399441055744.0;

// 2^k for integers k in -1022 .. 1023, given as k + ROUNDER.
inline Doubles power_of_two(Doubles rounded) { return from_bits((bits(rounded) + 1023) << 52); }

// ln 2 in two parts, the first with 20 zeros at its end: its product with an exponent is exact.
constexpr double LN2_HIGH = 6.93147180369123816490e-01, LN2_LOW = 1.90821492927058770002e-10;
constexpr double PER_LN2 = 1.44269504088896338700;

// e^r - 1 - r for |r| <= 0.35: the Taylor series, whose next term is below 1e-17 of the sum.
inline Doubles exponential_rest(Doubles r) {
    const Doubles r2 = r * r;
    // In pairs (Estrin): a shorter chain than one term after the other.
    const Doubles a = 1.0 / 2 + r * (1.0 / 6), b = 1.0 / 24 + r * (1.0 / 120), c = 1.0 / 720 + r * (1.0 / 5040);
    const Doubles d = 1.0 / 40320 + r * (1.0 / 362880), e = 1.0 / 3628800 + r * (1.0 / 39916800);
    const Doubles f = 1.0 / 479001600 + r * (1.0 / 6227020800.0);
    const Doubles r4 = r2 * r2;
    return r2 * ((a + r2 * b) + r4 * ((c + r2 * d) + r4 * (e + r2 * f)));
}

// e^x within 2 units in the last place; infinite above 709.78, 0 below -745.13, NaN for NaN.
inline Doubles exponential(Doubles x) {
    const Doubles bounded = where_less(all(710.0), x, all(710.0), where_less(x, all(-746.0), all(-746.0), x));
    const Doubles rounded = bounded * PER_LN2 + ROUNDER, k = rounded - ROUNDER;
    const Doubles high = bounded - k * LN2_HIGH, low = k * LN2_LOW, r = high - low;
    const Doubles power = 1.0 + (high + (exponential_rest(r) - low));
    // In two halves: 2^1024 and 2^-1074 are no normal numbers.
    const Doubles half = k * 0.5 + ROUNDER;
    return (power * power_of_two(half)) * power_of_two((k - (half - ROUNDER)) + ROUNDER);
}

// ln x within 2 units in the last place for x >= 1e-300; what is below, and NaN, gives no meaning.
inline Doubles logarithm(Doubles x) {
    // x = 2^k m with m in sqrt(1/2) .. sqrt(2).
    const Integers shifted = bits(x) - INT64_C(0x3fe6a09e667f3bcd) + (INT64_C(1024) << 52);
    const Integers exponent = (Integers)((Naturals)shifted >> 52) - 1024;
    const Doubles m = from_bits(bits(x) - (exponent << 52));
    const Doubles n = from_bits(exponent + INT64_C(0x4338000000000000)) - ROUNDER;
    const Doubles f = m - 1.0, s = f / (2.0 + f), z = s * s, w = z * z, half = 0.5 * f * f;
    // The minimax polynomial of the logarithm in s = f / (2 + f) (Tang 1990, as in the C libraries of today).
    const Doubles even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    const Doubles odd = z * (6.666666666666735130e-01 +
                             w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    return n * LN2_HIGH - ((half - (s * (half + even + odd) + n * LN2_LOW)) - f);
}

// ln(1 + x) for 0 <= x <= 1, within 3 units in the last place.
inline Doubles logarithm_of_one_and(Doubles x) {
    const Doubles whole = 1.0 + x, lost = x - (whole - 1.0);
    return logarithm(whole) + lost / whole;
}

// e^x - 1 - x, never negative: within 16 units in the last place.
inline Doubles exponential_less_its_start(Doubles x) {
    const Doubles outside = (exponential(x) - 1.0) - x;
    return where_less(all(0.35), magnitude(x), larger(outside, all(0.0)), exponential_rest(x));
}

}  // namespace
}  // namespace KERNEL_LEVEL
