// Rows of a stretch, one after the other, in float64: dense columns side by side, and a list of all other entries.
#pragma once

#include <new>

#include "epochs.hpp"
#include "vectors.hpp"

// Entries of further rows that are asked for early.
constexpr std::ptrdiff_t AHEAD = 128;

// Loops of a few vectors, which a call would take longer than.
#define ALWAYS __attribute__((always_inline))

namespace KERNEL_LEVEL {
namespace {

constexpr Count rounded_up(Count count) { return (count + LANES - 1) / LANES * LANES; }

// Numbers for a while, zero at first, aligned to a line of the cache.
template <class T>
class Numbers {
   public:
    explicit Numbers(Count count)
        : start_(static_cast<T*>(::operator new((count > 0 ? count : 1) * sizeof(T), std::align_val_t(64)))) {
        for (Count i = 0; i < count; ++i) start_[i] = T(0);
    }
    ~Numbers() { ::operator delete(start_, std::align_val_t(64)); }
    Numbers(const Numbers&) = delete;
    Numbers& operator=(const Numbers&) = delete;
    operator T*() const { return start_; }

   private:
    T* start_;
};

ALWAYS inline Doubles root(Doubles x) {
#if defined(__AVX512F__)
    return (Doubles)_mm512_maskz_sqrt_pd(0xff, (__m512d)x);  // without the mask GCC 12 warns of its own header
#elif defined(__x86_64__)
    double values[LANES];
    store(values, x);
    for (int i = 0; i < LANES; i += 2) _mm_storeu_pd(values + i, _mm_sqrt_pd(_mm_loadu_pd(values + i)));
    return load(values);
#else
    for (int i = 0; i < LANES; ++i) x[i] = __builtin_sqrt(x[i]);
    return x;
#endif
}

ALWAYS inline double dot(const double* a, const double* b, Count padded) {
    Doubles first{}, second{};
    Count i = 0;
    for (; i + 2 * LANES <= padded; i += 2 * LANES) {
        first += load(a + i) * load(b + i);
        second += load(a + i + LANES) * load(b + i + LANES);
    }
    if (i < padded) first += load(a + i) * load(b + i);
    return sum(first + second);
}

class RowReader {
   public:
    explicit RowReader(const Stretch& rows)
        : rows_(rows), stride_(rounded_up(rows.lead())), exact_(true), shift_(stride_), scale_(stride_) {
        for (Count j = 0; j < rows.columns; ++j) {
            shift_[j] = rows.shift[j];
            scale_[j] = rows.scale[j];
            exact_ = exact_ && power_of_two(rows.scale[j]);
        }
        // Where 1 / scale is exact, a product with it is the quotient.
        if (exact_)
            for (Count j = 0; j < rows.columns; ++j) scale_[j] = 1.0 / scale_[j];
    }

    // Numbers of the dense part of a row, padded by zeros.
    Count stride() const { return stride_; }

    // The most entries besides the dense part that a row has.
    Count most_entries() const {
        Count most = 0;
        if (rows_.pointers)
            for (Count r = 0; r < rows_.rows; ++r) {
                const Count count = pointer(r + 1) - pointer(r);
                most = count > most ? count : most;
            }
        return most + rows_.groups;
    }

    double label(Count row) const { return rows_.label[row]; }
    double weight(Count row) const { return rows_.weight ? rows_.weight[row] : 1.0; }
    double offset(Count row) const { return rows_.offset ? rows_.offset[row] : 0.0; }

    // Write the dense part of some rows, the intercept first, `distance` numbers apart; what is between stays as it is.
    void dense(Count start, Count count, double* out, Count distance) const {
        if (rows_.single) dense_of<float>(start, count, out, distance);
        else dense_of<double>(start, count, out, distance);
    }

    // Coefficient and value of each entry besides the dense part; return how many there are.
    Count entries(Count row, std::int64_t* column, double* value) const {
        Count count = 0, place = rows_.lead();
        for (Count g = 0; g < rows_.groups; ++g) {
            const std::uint64_t level = code(row, g);
            // What is beyond the levels is no level: whatever is stored, nothing outside of the coefficients is touched.
            if (level < static_cast<std::uint64_t>(rows_.levels[g])) {
                column[count] = place + static_cast<Count>(level);
                value[count++] = 1.0;
            }
            place += rows_.levels[g];
        }
        if (!rows_.pointers) return count;
        const Count start = pointer(row), many = pointer(row + 1) - start;
        if (rows_.index_bytes == 4) places<std::int32_t>(start, many, column + count);
        else places<std::int64_t>(start, many, column + count);
        if (rows_.single_entries) copied<float>(start, many, value + count);
        else copied<double>(start, many, value + count);
        if (rows_.sparse_factor)
            for (Count k = 0; k < many; ++k) value[count + k] *= rows_.sparse_factor[column[count + k] - rows_.first];
        return count + many;
    }

    // Ask for what the sparse entries of a row will meet, cells of four numbers: it comes while other rows are learned.
    void ask_for(Count row, const double* cells) const {
        if (!rows_.pointers) return;
        const Count start = pointer(row), stop = pointer(row + 1);
        for (Count k = stop; k < stop + AHEAD; k += 16) {  // of the rows after it: a line of the cache has 64 bytes
            __builtin_prefetch(static_cast<const char*>(rows_.indices) + k * rows_.index_bytes);
            __builtin_prefetch(static_cast<const char*>(rows_.entries) + k * (rows_.single_entries ? 4 : 8));
        }
        cells += 4 * rows_.first;
        if (rows_.index_bytes == 4)
            for (Count k = start; k < stop; ++k) __builtin_prefetch(cells + 4 * static_cast<const std::int32_t*>(rows_.indices)[k], 1);
        else
            for (Count k = start; k < stop; ++k) __builtin_prefetch(cells + 4 * static_cast<const std::int64_t*>(rows_.indices)[k], 1);
    }

   private:
    template <class Whole>
    void places(Count start, Count many, std::int64_t* column) const {
        const Whole* from = static_cast<const Whole*>(rows_.indices) + start;
        for (Count k = 0; k < many; ++k) column[k] = rows_.first + from[k];
    }

    template <class Real>
    void copied(Count start, Count many, double* value) const {
        const Real* from = static_cast<const Real*>(rows_.entries) + start;
        for (Count k = 0; k < many; ++k) value[k] = from[k];
    }

    static bool power_of_two(double scale) {
        std::uint64_t pattern;
        std::memcpy(&pattern, &scale, sizeof pattern);
        const std::uint64_t exponent = pattern >> 52 & 0x7ff;
        return (pattern & UINT64_C(0xfffffffffffff)) == 0 && exponent > 10 && exponent < 2036;
    }

    Count pointer(Count row) const {
        return rows_.index_bytes == 4 ? static_cast<const std::int32_t*>(rows_.pointers)[row]
                                      : static_cast<const std::int64_t*>(rows_.pointers)[row];
    }

    std::uint64_t code(Count row, Count group) const {
        const Count place = row * rows_.code_row_stride + group * rows_.code_group_stride;
        switch (rows_.code_bytes) {
            case 1: return static_cast<const std::uint8_t*>(rows_.codes)[place];
            case 2: return static_cast<const std::uint16_t*>(rows_.codes)[place];
            case 4: return static_cast<const std::uint32_t*>(rows_.codes)[place];
            default: return static_cast<const std::uint64_t*>(rows_.codes)[place];
        }
    }

    template <class T>
    void dense_of(Count start, Count count, double* out, Count distance) const {
        typedef T Eight __attribute__((vector_size(LANES * sizeof(T))));
        const Count first = rows_.intercept ? 1 : 0, columns = rows_.columns;
        const T* from = static_cast<const T*>(rows_.dense) + start * rows_.row_stride;
        if (first)
            for (Count r = 0; r < count; ++r) out[r * distance] = 1.0;
        if (rows_.column_stride == 1) {
            for (Count r = 0; r < count; ++r) {
                const T* row = from + r * rows_.row_stride;
                double* to = out + r * distance + first;
                const auto eight = [&](Count j) {
                    Eight values;
                    std::memcpy(&values, row + j, sizeof values);
                    const Doubles moved = __builtin_convertvector(values, Doubles) - load(shift_ + j);
                    store(to + j, exact_ ? moved * load(scale_ + j) : moved / load(scale_ + j));
                };
                Count j = 0;
                for (; j + LANES <= columns; j += LANES) eight(j);
                if (j < columns && columns >= LANES) eight(columns - LANES);  // some of them once more
                else
                    for (; j < columns; ++j) to[j] = read(row[j], j);
            }
            return;
        }
        for (Count j = 0; j < columns; ++j) {
            const T* column = from + j * rows_.column_stride;
            double* to = out + first + j;
            for (Count r = 0; r < count; ++r) to[r * distance] = read(column[r * rows_.row_stride], j);
        }
    }

    double read(double value, Count column) const {
        const double moved = value - shift_[column];
        return exact_ ? moved * scale_[column] : moved / scale_[column];
    }

    const Stretch& rows_;
    Count stride_;
    bool exact_;
    Numbers<double> shift_, scale_;
};

// gradient = what the penalty rises by at w.
inline void penalty_gradient(const QuadraticPenalty& penalty, const double* w, double* gradient) {
    for (Count j = 0; j < penalty.size; ++j) gradient[j] = penalty.strengths[j] * w[j];
    const double* matrix = penalty.matrices;
    for (Count b = 0; b < penalty.blocks; ++b) {
        const Count start = penalty.starts[b], length = penalty.stops[b] - start;
        for (Count i = 0; i < length; ++i) {
            double total = 0.0;
            for (Count j = 0; j < length; ++j) total += matrix[i * length + j] * w[start + j];
            gradient[start + i] += total;
        }
        matrix += length * length;
    }
}

inline bool penalises(const QuadraticPenalty& penalty) {
    for (Count j = 0; j < penalty.size; ++j)
        if (penalty.strengths[j] != 0.0) return true;
    return penalty.blocks > 0;
}


}  // namespace
}  // namespace KERNEL_LEVEL
