// Sparse columns of a tile's rows: gathered for predictors, scattered to once slopes are known.
//
// All that a column meets stands side by side in one cell: an entry costs one line of the cache, which is what bounds a
// reading of many columns. What an entry is multiplied by goes into the cells, before and after a reading.
#pragma once

#include "tiles.hpp"

// Loops that no loss changes: once a width, not once a loss.
#define OWN __attribute__((noinline))

namespace KERNEL_LEVEL {
namespace {

typedef double Four __attribute__((vector_size(32)));

inline Four four_at(const double* from) {
    Four values;
    std::memcpy(&values, from, sizeof values);
    return values;
}

inline void put_four(double* to, Four values) { std::memcpy(to, &values, sizeof values); }

// Call a function with the types of indices and entries.
template <class Function>
inline void with_types(const SparseRows& rows, Function function) {
    if (rows.index_bytes == 4)
        rows.single ? function(std::int32_t(), float()) : function(std::int32_t(), double());
    else
        rows.single ? function(std::int64_t(), float()) : function(std::int64_t(), double());
}

inline double entry_of(double value, Entries entries) {
    return entries == Entries::AS_THEY_ARE ? value : entries == Entries::ABSOLUTE ? __builtin_fabs(value) : value * value;
}

// Cells of WIDTH numbers, the last of them for indices of no column.
template <int WIDTH>
class SparseCells {
   public:
    explicit SparseCells(const StoredRows& rows)
        : rows_(rows.sparse),
          entries_(rows.sparse.kind),
          cells_(static_cast<std::size_t>(rows.sparse.pointers ? WIDTH * (rows.sparse.columns + 1) : 0)) {
        if (there()) clear(cells_, static_cast<std::size_t>(WIDTH * (rows_.columns + 1)));
    }

    bool there() const { return rows_.pointers != nullptr; }

    // Parameters of the sparse columns, or the roots of what squared entries are multiplied by.
    void fill(int place, const double* parameters, bool roots = false) const {
        if (!there()) return;
        for (std::ptrdiff_t j = 0; j < rows_.columns; ++j)
            cells_[WIDTH * j + place] = roots ? __builtin_sqrt(parameters[j]) * factor(j) : parameters[j] * factor(j);
    }

    void write(int place, double* total) const {
        if (!there()) return;
        for (std::ptrdiff_t j = 0; j < rows_.columns; ++j) total[j] = cells_[WIDTH * j + place] * factor(j);
    }

    // sums[i] += the products of each row's entries with what stands in a place: four sums a row, whatever is beside it.
    OWN void add_products(const Tile& tile, int place, double* sums) const {
        if (!there()) return;
        with_types(rows_, [&](auto whole, auto real) {
            each_row<decltype(whole), decltype(real)>(tile, [&](std::ptrdiff_t i, auto places, auto values, std::ptrdiff_t count) {
                double some[4] = {};
                std::ptrdiff_t k = 0;
                for (; k + 4 <= count; k += 4)
                    for (int s = 0; s < 4; ++s) some[s] += entry_of(values[k + s], entries_) * cell(places[k + s])[place];
                for (int s = 0; k < count; ++k, ++s) some[s] += entry_of(values[k], entries_) * cell(places[k])[place];
                sums[i] += (some[0] + some[2]) + (some[1] + some[3]);
            });
        });
    }

    // Of cells of eight: predictors, |x| times sizes, changes along a direction, and sums of squares.
    OWN void add_all(const Tile& tile, double* eta, double* sizes, double* change, double* squares) const {
        static_assert(WIDTH == 8, "four parameters, and four sums");
        if (!there()) return;
        typedef std::int64_t Masks __attribute__((vector_size(32)));
        const Masks sizes_alone = {-1, INT64_C(0x7fffffffffffffff), -1, -1};
        const Four ones = {1.0, 1.0, 1.0, 1.0};
        with_types(rows_, [&](auto whole, auto real) {
            each_row<decltype(whole), decltype(real)>(tile, [&](std::ptrdiff_t i, auto places, auto values, std::ptrdiff_t count) {
                Four some[2] = {};
                for (std::ptrdiff_t k = 0; k < count; ++k) {
                    const Four product = static_cast<double>(values[k]) * four_at(cell(places[k]));
                    some[k & 1] += (Four)((Masks)product & sizes_alone) * __builtin_shufflevector(ones, product, 0, 1, 2, 7);
                }
                const Four all = some[0] + some[1];
                eta[i] += all[0];
                sizes[i] += all[1];
                change[i] += all[2];
                squares[i] += all[3];
            });
        });
    }

    // To what stands in a place: each row's entries times its value.
    OWN void scatter(const Tile& tile, int place, const double* row_values) const {
        if (!there()) return;
        with_types(rows_, [&](auto whole, auto real) {
            each_row<decltype(whole), decltype(real)>(tile, [&](std::ptrdiff_t i, auto places, auto values, std::ptrdiff_t count) {
                const double own = row_values[i];
                for (std::ptrdiff_t k = 0; k < count; ++k) cell(places[k])[place] += entry_of(values[k], entries_) * own;
            });
        });
    }

    // To the last four of eight: slopes, errors, curvatures, and these once more, the second and last with |x|.
    OWN void scatter_all(const Tile& tile, const double* slope, const double* error, const double* curvature) const {
        static_assert(WIDTH == 8, "four parameters, and four sums");
        if (!there()) return;
        with_types(rows_, [&](auto whole, auto real) {
            each_row<decltype(whole), decltype(real)>(tile, [&](std::ptrdiff_t i, auto places, auto values, std::ptrdiff_t count) {
                const Four own = {slope[i], error[i], curvature[i], curvature[i]};
                for (std::ptrdiff_t k = 0; k < count; ++k) {
                    const double value = values[k], size = __builtin_fabs(value);
                    double* sums = cell(places[k]) + 4;
                    put_four(sums, four_at(sums) + own * Four{value, size, value, size});
                }
            });
        });
    }

    // Of cells of eight: the smallest and largest entry, weighted sums of entries and of their squares, and how many.
    OWN void add_extents(const Tile& tile, const double* weight) const {
        static_assert(WIDTH == 8, "five numbers");
        if (!there()) return;
        with_types(rows_, [&](auto whole, auto real) {
            each_row<decltype(whole), decltype(real)>(tile, [&](std::ptrdiff_t i, auto places, auto values, std::ptrdiff_t count) {
                for (std::ptrdiff_t k = 0; k < count; ++k) {
                    const double value = values[k], part = weight[i] * value;
                    double* own = cell(places[k]);
                    own[0] = value < own[0] ? value : own[0];
                    own[1] = value > own[1] ? value : own[1];
                    own[2] += part;
                    own[3] += part * value;
                    own[4] += 1.0;
                }
            });
        });
    }

    double* cell(std::ptrdiff_t column) const {
        // What is no column meets the last cell: whatever is stored, nothing outside is touched.
        const auto place = static_cast<std::size_t>(column), none = static_cast<std::size_t>(rows_.columns);
        return cells_ + WIDTH * (place < none ? place : none);
    }

   private:
    double factor(std::ptrdiff_t column) const {
        return rows_.factor ? entry_of(rows_.factor[column], entries_) : 1.0;
    }

    // Call a function with each row of the tile: its number there, and columns and values of its entries.
    template <class Whole, class Real, class Function>
    void each_row(const Tile& tile, Function function) const {
        const Whole* pointers = static_cast<const Whole*>(rows_.pointers) + tile.first;
        const Whole* indices = static_cast<const Whole*>(rows_.indices);
        const Real* entries = static_cast<const Real*>(rows_.entries);
        for (std::ptrdiff_t i = 0; i < tile.count; ++i)
            function(i, indices + pointers[i], entries + pointers[i], static_cast<std::ptrdiff_t>(pointers[i + 1] - pointers[i]));
    }

    const SparseRows& rows_;
    const Entries entries_;
    const Scratch<double> cells_;
};

}  // namespace
}  // namespace KERNEL_LEVEL
