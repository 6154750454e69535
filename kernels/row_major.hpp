// Rows whose dense columns lie next to each other, eight columns at a time: nothing has to be turned.
#pragma once

#include "tiles.hpp"

namespace KERNEL_LEVEL {
namespace {

// The sum of each of eight vectors, in one: pairs of lanes first, always in the same order.
inline Doubles across(const Doubles x[LANES]) {
    Doubles pairs[4], fours[2];
    for (int i = 0; i < 4; ++i)
        pairs[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14) +
                   __builtin_shufflevector(x[2 * i], x[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    for (int i = 0; i < 2; ++i)
        fours[i] = __builtin_shufflevector(pairs[2 * i], pairs[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13) +
                   __builtin_shufflevector(pairs[2 * i], pairs[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    return __builtin_shufflevector(fours[0], fours[1], 0, 1, 2, 3, 8, 9, 10, 11) +
           __builtin_shufflevector(fours[0], fours[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

// What is asked of the rows: null where it is not.
struct Asked {
    const double *parameters, *sizes, *direction, *squares;
};

class RowMajor {
   public:
    // Entries as they are, and exact reciprocals of the scales.
    static bool serves(const StoredRows& rows) {
        if (rows.groups || rows.sparse.pointers || rows.columns < LANES || rows.column_stride != 1 || rows.entries != Entries::AS_THEY_ARE) return false;
        for (std::ptrdiff_t j = 0; j < rows.columns; ++j)
            if (!power_of_two(rows.scale[j])) return false;
        return true;
    }

    RowMajor(const StoredRows& rows, std::ptrdiff_t most)
        : most(most),
          rows_(rows),
          vectors_((rows.columns + LANES - 1) / LANES),
          reciprocals_(static_cast<std::size_t>(rows.columns)),
          kept_(static_cast<std::size_t>(most * vectors_ * LANES)) {
        for (std::ptrdiff_t j = 0; j < rows.columns; ++j) reciprocals_[j] = 1.0 / rows.scale[j];
    }

    // As many rows as stay in the first cache.
    static std::ptrdiff_t fitting(const StoredRows& rows) {
        constexpr std::ptrdiff_t VALUES = 3072;
        const std::ptrdiff_t fitting = VALUES / (rows.columns + LANES) / LANES * LANES;
        return fitting > MOST_TILE_ROWS ? MOST_TILE_ROWS : fitting < LANES ? LANES : fitting;
    }

    std::size_t places() const { return static_cast<std::size_t>(vectors_ * LANES); }

    // Factors of the columns as `products` takes them: a column that comes twice counts once.
    void spread(const double* factors, double* to) const {
        for (std::ptrdiff_t v = 0; v < vectors_; ++v)
            for (int k = 0; k < LANES; ++k) {
                const std::ptrdiff_t j = column(v) + k;
                to[v * LANES + k] = j < v * LANES ? 0.0 : factors[j];
            }
    }

    // Of each vector's columns, (places,), to their own places.
    void gather(const double* from, double* columns) const {
        for (std::ptrdiff_t v = 0; v < vectors_; ++v)
            for (int k = 0; k < LANES; ++k) columns[column(v) + k] = from[v * LANES + k];
    }

    struct Results {
        double *parameters, *sizes, *direction, *squares;
    };

    // Reads rows, and keeps them for `add`: X w and, where anything else is asked for, |X| s, X d and X^2 u, without an
    // intercept, padded to the lanes. Factors stand as `spread` writes them.
    void products(std::ptrdiff_t start, std::ptrdiff_t count, const Asked& factors, bool every, const Results& to) const {
        if (rows_.single)
            every ? rows_by_eight<float, true>(start, count, factors, to) : rows_by_eight<float, false>(start, count, factors, to);
        else
            every ? rows_by_eight<double, true>(start, count, factors, to) : rows_by_eight<double, false>(start, count, factors, to);
    }

    // Adds X' values to sums and |X|' sized to sizes, (places,), of the rows that were read last; what is null is not wanted.
    void add(std::ptrdiff_t count, const double* values, double* sums, const double* sized, double* sizes) const {
        constexpr int AT_ONCE = 4;
        std::ptrdiff_t v = 0;
        for (; v + AT_ONCE <= vectors_; v += AT_ONCE) add_vectors<AT_ONCE>(v, count, values, sums, sized, sizes);
        for (; v < vectors_; ++v) add_vectors<1>(v, count, values, sums, sized, sizes);
    }

    // `RowKernels::extents` of some rows, (places,) each.
    void extents(std::ptrdiff_t start, std::ptrdiff_t count, const double* weight, const double* centre, double* low, double* high,
                 double* first, double* second) const {
        if (rows_.single)
            extents_of<float>(start, count, weight, centre, low, high, first, second);
        else
            extents_of<double>(start, count, weight, centre, low, high, first, second);
    }

    const std::ptrdiff_t most;  // rows that can be kept

   private:
    // Where a vector begins: the last one has some of the columns before it once more, so that there are always eight.
    std::ptrdiff_t column(std::ptrdiff_t vector) const {
        return (vector + 1) * LANES > rows_.columns ? rows_.columns - LANES : vector * LANES;
    }

    template <class T>
    const T* row(std::ptrdiff_t number) const {
        return static_cast<const T*>(rows_.dense) + number * rows_.row_stride;
    }

    template <class T, bool EVERY>
    void rows_by_eight(std::ptrdiff_t start, std::ptrdiff_t count, const Asked& factors, const Results& to) const {
        constexpr int AT_ONCE = 4;
        constexpr std::ptrdiff_t LINE = 64 / sizeof(T);
        const std::ptrdiff_t ahead = AHEAD / static_cast<std::ptrdiff_t>(sizeof(T)) / rows_.columns + LANES;
        for (std::ptrdiff_t r = 0; r < count; r += LANES) {
            Doubles found[4][LANES];
            for (int first = 0; first < LANES; first += AT_ONCE) {
                const T* from[AT_ONCE];
                // Rows that are not there say what the last one does.
                for (int i = 0; i < AT_ONCE; ++i) from[i] = row<T>(start + (r + first + i < count ? r + first + i : count - 1));
                Doubles sums[4][AT_ONCE] = {};
                for (std::ptrdiff_t v = 0; v < vectors_; ++v) {
                    const std::ptrdiff_t j = column(v), place = v * LANES;
                    if (place % LINE == 0)
                        for (int i = 0; i < AT_ONCE; ++i) __builtin_prefetch(from[i] + ahead * rows_.row_stride + j);
                    const Doubles shift = load(rows_.shift + j), reciprocal = load(reciprocals_ + j);
                    for (int i = 0; i < AT_ONCE; ++i) {
                        const Doubles x = (eight_at(from[i] + j) - shift) * reciprocal;
                        store(kept_ + ((r + first + i) * vectors_ + v) * LANES, x);
                        sums[0][i] += load(factors.parameters + place) * x;
                        if (!EVERY) continue;
                        sums[1][i] += load(factors.sizes + place) * magnitude(x);
                        sums[2][i] += load(factors.direction + place) * x;
                        sums[3][i] += load(factors.squares + place) * (x * x);
                    }
                }
                for (int k = 0; k < (EVERY ? 4 : 1); ++k)
                    for (int i = 0; i < AT_ONCE; ++i) found[k][first + i] = sums[k][i];
            }
            store(to.parameters + r, across(found[0]));
            if (!EVERY) continue;
            store(to.sizes + r, across(found[1]));
            store(to.direction + r, across(found[2]));
            store(to.squares + r, across(found[3]));
        }
    }

    template <int AT_ONCE>
    void add_vectors(std::ptrdiff_t v, std::ptrdiff_t count, const double* values, double* sums, const double* sized, double* sizes) const {
        if (sums && sizes) return add_either<AT_ONCE, true, true>(v, count, values, sums, sized, sizes);
        if (sums) return add_either<AT_ONCE, true, false>(v, count, values, sums, sized, sizes);
        add_either<AT_ONCE, false, true>(v, count, values, sums, sized, sizes);
    }

    template <int AT_ONCE, bool SUMS, bool SIZES>
    void add_either(std::ptrdiff_t v, std::ptrdiff_t count, const double* values, double* sums, const double* sized, double* sizes) const {
        Doubles found[AT_ONCE] = {}, found_sizes[AT_ONCE] = {};
        const double* from = kept_ + v * LANES;
        for (std::ptrdiff_t r = 0; r < count; ++r, from += vectors_ * LANES)
            for (int k = 0; k < AT_ONCE; ++k) {
                const Doubles x = load(from + k * LANES);
                if (SUMS) found[k] += values[r] * x;
                if (SIZES) found_sizes[k] += sized[r] * magnitude(x);
            }
        for (int k = 0; k < AT_ONCE; ++k) {
            if (SUMS) store(sums + (v + k) * LANES, load(sums + (v + k) * LANES) + found[k]);
            if (SIZES) store(sizes + (v + k) * LANES, load(sizes + (v + k) * LANES) + found_sizes[k]);
        }
    }

    template <class T>
    void extents_of(std::ptrdiff_t start, std::ptrdiff_t count, const double* weight, const double* centre, double* low, double* high,
                    double* first, double* second) const {
        constexpr int AT_ONCE = 2;
        std::ptrdiff_t v = 0;
        for (; v + AT_ONCE <= vectors_; v += AT_ONCE) extents_at<T, AT_ONCE>(v, start, count, weight, centre, low, high, first, second);
        for (; v < vectors_; ++v) extents_at<T, 1>(v, start, count, weight, centre, low, high, first, second);
    }

    template <class T, int AT_ONCE>
    void extents_at(std::ptrdiff_t v, std::ptrdiff_t start, std::ptrdiff_t count, const double* weight, const double* centre,
                    double* low, double* high, double* first, double* second) const {
        Doubles least[AT_ONCE], most[AT_ONCE], sums[AT_ONCE] = {}, squares[AT_ONCE] = {};
        Doubles shift[AT_ONCE], reciprocal[AT_ONCE], middle[AT_ONCE];
        std::ptrdiff_t columns[AT_ONCE];
        for (int k = 0; k < AT_ONCE; ++k) {
            columns[k] = column(v + k);
            shift[k] = load(rows_.shift + columns[k]);
            reciprocal[k] = load(reciprocals_ + columns[k]);
            middle[k] = load(centre + columns[k]);
            least[k] = load(low + (v + k) * LANES);
            most[k] = load(high + (v + k) * LANES);
        }
        const T* from = row<T>(start);
        const std::ptrdiff_t ahead = AHEAD / static_cast<std::ptrdiff_t>(sizeof(T)) / rows_.columns + LANES;
        for (std::ptrdiff_t r = 0; r < count; ++r, from += rows_.row_stride)
            for (int k = 0; k < AT_ONCE; ++k) {
                __builtin_prefetch(from + ahead * rows_.row_stride + columns[k]);
                const Doubles x = (eight_at(from + columns[k]) - shift[k]) * reciprocal[k], distance = x - middle[k];
                const Doubles part = weight[r] * distance;
                least[k] = smaller(least[k], x);
                most[k] = larger(most[k], x);
                sums[k] += part;
                squares[k] += part * distance;
            }
        for (int k = 0; k < AT_ONCE; ++k) {
            const std::ptrdiff_t place = (v + k) * LANES;
            store(low + place, least[k]);
            store(high + place, most[k]);
            store(first + place, load(first + place) + sums[k]);
            store(second + place, load(second + place) + squares[k]);
        }
    }

    const StoredRows& rows_;
    const std::ptrdiff_t vectors_;
    const Scratch<double> reciprocals_, kept_;
};

}  // namespace
}  // namespace KERNEL_LEVEL
