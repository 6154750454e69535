// Tiles: some rows, in float64, column by column in the cache, whatever they are stored as.
#pragma once

#include <cstddef>
#include <new>

#include "rows.hpp"
#include "vectors.hpp"

namespace KERNEL_LEVEL {
namespace {

// Memory for a while, aligned to a line of the cache.
template <class T>
class Scratch {
   public:
    explicit Scratch(std::size_t count)
        : start_(static_cast<T*>(::operator new((count ? count : 1) * sizeof(T), std::align_val_t(64)))) {}
    ~Scratch() { ::operator delete(start_, std::align_val_t(64)); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    operator T*() const { return start_; }

   private:
    T* start_;
};

inline void clear(double* values, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) values[i] = 0.0;
}

// Columns of zeros behind those of a tile: what goes through a few columns at a time need not count them.
constexpr std::ptrdiff_t SPARE_COLUMNS = 8;

// Bytes between what is read and what is asked for meanwhile.
constexpr std::ptrdiff_t AHEAD = 8192;

constexpr std::ptrdiff_t MOST_TILE_ROWS = 512, LEAST_TILE_ROWS = 32, TILE_VALUES = 25600;

// Rows of a tile: a multiple of the lanes such that a tile stays in the second cache. Entries of sparse columns are read
// once more for the sums, from the first cache where few rows are between.
inline std::ptrdiff_t tile_rows(std::ptrdiff_t lead, bool sparse) {
    if (sparse) return LEAST_TILE_ROWS;
    const std::ptrdiff_t fitting = TILE_VALUES / (lead ? lead : 1) / LANES * LANES;
    return fitting > MOST_TILE_ROWS ? MOST_TILE_ROWS : fitting < LEAST_TILE_ROWS ? LEAST_TILE_ROWS : fitting;
}

// The distance of columns of so many rows: an odd number of lines, or columns would meet in the same places of a cache.
inline std::ptrdiff_t uneven(std::ptrdiff_t rows) { return (rows / LANES | 1) * LANES; }

// Whether 1 / scale is exact, so that a product with it is the quotient.
inline bool power_of_two(double scale) {
    std::uint64_t bits;
    std::memcpy(&bits, &scale, sizeof bits);
    const std::uint64_t exponent = bits >> 52 & 0x7ff;
    return (bits & UINT64_C(0xfffffffffffff)) == 0 && exponent > 10 && exponent < 2036;
}

// How one column is read.
struct Reading {
    double shift, scale, reciprocal;
    bool exact;
    Entries entries;

    Doubles operator()(Doubles x) const {
        Doubles z = x - shift;
        z = exact ? z * reciprocal : z / scale;
        if (entries == Entries::ABSOLUTE) z = magnitude(z);
        if (entries == Entries::SQUARED) z = z * z;
        return z;
    }
};

inline Reading reading_of(const StoredRows& rows, std::ptrdiff_t column) {
    const double scale = rows.scale[column];
    return {rows.shift[column], scale, 1.0 / scale, power_of_two(scale), rows.entries};
}

template <class T>
struct Eight {
    typedef T Vector __attribute__((vector_size(LANES * sizeof(T))));
};

inline Doubles widened(Eight<double>::Vector values) { return values; }

// By hand: compilers convert eight numbers in two halves and put those together.
inline Doubles widened(Eight<float>::Vector values) {
#if defined(__AVX512F__)
    return (Doubles)_mm512_maskz_cvtps_pd(0xff, (__m256)values);
#else
    return __builtin_convertvector(values, Doubles);
#endif
}

template <class T>
inline Doubles eight_at(const T* from) {
    typename Eight<T>::Vector values;
    std::memcpy(&values, from, sizeof values);
    return widened(values);
}

// Eight rows of eight columns, turned.
template <class T>
inline void turn(const T* from, std::ptrdiff_t row_stride, typename Eight<T>::Vector out[LANES]) {
    using V = typename Eight<T>::Vector;
    V a[LANES], b[LANES];
    for (int i = 0; i < LANES; ++i) std::memcpy(&a[i], from + i * row_stride, sizeof(V));
    for (int i = 0; i < LANES; i += 2) {
        b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < LANES; i += 4)
        for (int k = 0; k < 2; ++k) {
            a[i + k] = __builtin_shufflevector(b[i + k], b[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            a[i + k + 2] = __builtin_shufflevector(b[i + k], b[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int k = 0; k < 4; ++k) {
        out[k] = __builtin_shufflevector(a[k], a[k + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        out[k + 4] = __builtin_shufflevector(a[k], a[k + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

template <class T>
void load_dense(const StoredRows& rows, const Reading* readings, std::ptrdiff_t start, std::ptrdiff_t count, double* tile,
                std::ptrdiff_t stride) {
    const T* first = static_cast<const T*>(rows.dense) + start * rows.row_stride;
    const std::ptrdiff_t whole = count / LANES * LANES;
    std::ptrdiff_t turned = 0;  // columns that were turned, of the whole groups of rows
    if (rows.row_stride != 1 && rows.column_stride == 1 && rows.columns >= LANES) {
        turned = rows.columns;
        // Some rows after the other, and asked for some time before: what is read jumps from row to row too often for
        // the processor to foresee.
        constexpr std::ptrdiff_t line = 64 / sizeof(T);
        const std::ptrdiff_t ahead = AHEAD / static_cast<std::ptrdiff_t>(sizeof(T)) / rows.columns;
        const std::ptrdiff_t distance = ahead < LANES ? 8 * line : ahead * rows.row_stride;
        for (std::ptrdiff_t r = 0; r < whole; r += LANES)
            for (std::ptrdiff_t next = 0; next < turned; next += LANES) {
                // The last columns once more with those before them, so that there are always eight.
                const std::ptrdiff_t j = next + LANES > turned ? turned - LANES : next;
                typename Eight<T>::Vector out[LANES];
                const T* from = first + r * rows.row_stride + j;
                if (next % line == 0)
                    for (int k = 0; k < LANES; ++k) __builtin_prefetch(from + k * rows.row_stride + distance);
                turn<T>(from, rows.row_stride, out);
                for (int k = 0; k < LANES; ++k)
                    store(tile + (j + k) * stride + r, readings[j + k](widened(out[k])));
            }
    }
    for (std::ptrdiff_t j = 0; j < rows.columns; ++j) {
        const T* column = first + j * rows.column_stride;
        const Reading reading = readings[j];
        double* to = tile + j * stride;
        std::ptrdiff_t r = j < turned ? whole : 0;
        if (rows.row_stride == 1)
            for (; r < whole; r += LANES) {
                // The next column begins elsewhere.
                __builtin_prefetch(column + rows.column_stride + r);
                store(to + r, reading(eight_at(column + r)));
            }
        for (; r < count; r += LANES) {
            double values[LANES] = {};
            const int some = count - r < LANES ? static_cast<int>(count - r) : LANES;
            for (int k = 0; k < some; ++k) values[k] = static_cast<double>(column[(r + k) * rows.row_stride]);
            store(values, reading(load(values)));
            for (int k = some; k < LANES; ++k) values[k] = 0.0;
            std::memcpy(to + r, values, sizeof values);
        }
    }
}

template <class T, class Wide = std::uint32_t>
void load_codes(const StoredRows& rows, std::ptrdiff_t start, std::ptrdiff_t count, std::int32_t* codes, std::ptrdiff_t stride) {
    const T* first = static_cast<const T*>(rows.codes) + start * rows.code_row_stride;
    for (std::ptrdiff_t g = 0; g < rows.groups; ++g) {
        const T* from = first + g * rows.code_group_stride;
        const Wide none = static_cast<Wide>(rows.levels[g]);
        // What is beyond the levels is no level: whatever is stored, nothing outside of a table is touched.
        const auto known = [none](Wide code) { return static_cast<std::int32_t>(code < none ? code : none); };
        std::int32_t* to = codes + g * stride;
        if (rows.code_row_stride == 1)
            for (std::ptrdiff_t r = 0; r < count; ++r) to[r] = known(from[r]);
        else
            for (std::ptrdiff_t r = 0; r < count; ++r) to[r] = known(from[r * rows.code_row_stride]);
    }
}

// The dense columns and the codes of some rows. Rows up to the next multiple of the lanes are zeros.
class Tile {
   public:
    explicit Tile(const StoredRows& rows)
        : rows_(rows),
          lead(rows.lead()),
          most(tile_rows(lead, rows.sparse.pointers != nullptr)),
          stride(uneven(most)),
          dense(static_cast<std::size_t>((lead + SPARE_COLUMNS) * stride)),
          codes(static_cast<std::size_t>(rows.groups * most)),
          readings(static_cast<std::size_t>(rows.columns)) {
        for (std::ptrdiff_t j = 0; j < rows.columns; ++j) readings[j] = reading_of(rows, j);
        clear(dense + lead * stride, static_cast<std::size_t>(SPARE_COLUMNS * stride));
    }

    void read(std::ptrdiff_t start) {
        first = start;
        count = rows_.rows - start < most ? rows_.rows - start : most;
        padded = (count + LANES - 1) / LANES * LANES;
        double* columns = dense;
        if (rows_.intercept) {
            for (std::ptrdiff_t r = 0; r < padded; ++r) columns[r] = r < count ? 1.0 : 0.0;
            columns += stride;
        }
        if (rows_.single)
            load_dense<float>(rows_, readings, start, count, columns, stride);
        else
            load_dense<double>(rows_, readings, start, count, columns, stride);
        switch (rows_.code_bytes) {
            case 1: load_codes<std::uint8_t>(rows_, start, count, codes, most); break;
            case 2: load_codes<std::uint16_t>(rows_, start, count, codes, most); break;
            case 4: load_codes<std::uint32_t>(rows_, start, count, codes, most); break;
            default: load_codes<std::uint64_t, std::uint64_t>(rows_, start, count, codes, most);
        }
    }

    const double* column(std::ptrdiff_t j) const { return dense + j * stride; }
    const std::int32_t* code(std::ptrdiff_t g) const { return codes + g * most; }

   private:
    const StoredRows& rows_;

   public:
    const std::ptrdiff_t lead, most, stride;
    std::ptrdiff_t first = 0, count = 0, padded = 0;
    const Scratch<double> dense;
    const Scratch<std::int32_t> codes;
    const Scratch<Reading> readings;
};

}  // namespace
}  // namespace KERNEL_LEVEL
