// What the columns of the rows are like: their smallest and largest values, and weighted sums.
#pragma once

#include <limits>

#include "products.hpp"
#include "row_major.hpp"
#include "sparse.hpp"

namespace KERNEL_LEVEL {
namespace {

constexpr double INFINITE = std::numeric_limits<double>::infinity();

// The extents of rows that are read as they lie.
inline void extents_as_they_lie(const StoredRows& rows, const double* weight, const double* centre, double* low, double* high,
                         double* first, double* second) {
    const RowMajor columns(rows, 0);
    const std::size_t places = columns.places();
    Scratch<double> found(4 * places);
    double *least = found, *most = least + places, *sums = most + places, *squares = sums + places;
    for (std::size_t i = 0; i < places; ++i) {
        least[i] = INFINITE;
        most[i] = -INFINITE;
        sums[i] = squares[i] = 0.0;
    }
    constexpr std::ptrdiff_t AT_ONCE = 16;
    for (std::ptrdiff_t start = 0; start < rows.rows; start += AT_ONCE) {
        const std::ptrdiff_t count = rows.rows - start < AT_ONCE ? rows.rows - start : AT_ONCE;
        columns.extents(start, count, weight + start, centre, least, most, sums, squares);
    }
    columns.gather(least, low);
    columns.gather(most, high);
    columns.gather(sums, first);
    columns.gather(squares, second);
}

inline void extents(const StoredRows& rows, const double* weight, const double* centre, double* low, double* high,
             double* first, double* second, double* sparse) {
    if (!rows.intercept && RowMajor::serves(rows)) return extents_as_they_lie(rows, weight, centre, low, high, first, second);
    Tile tile(rows);
    const SparseCells<8> cells(rows);
    for (std::ptrdiff_t j = 0; cells.there() && j < rows.sparse.columns; ++j) {
        cells.cell(j)[0] = INFINITE;
        cells.cell(j)[1] = -INFINITE;
    }
    const std::ptrdiff_t lanes = tile.lead * LANES;
    // The smallest, the largest, the sum and the sum of the squares, eight of each for a column.
    Scratch<double> all_lanes(static_cast<std::size_t>(4 * lanes));
    double *least = all_lanes, *most = least + lanes, *sums = most + lanes, *squares = sums + lanes;
    for (std::ptrdiff_t i = 0; i < lanes; ++i) {
        least[i] = INFINITE;
        most[i] = -INFINITE;
        sums[i] = squares[i] = 0.0;
    }
    double some[MOST_TILE_ROWS];
    for (std::ptrdiff_t start = 0; start < rows.rows; start += tile.most) {
        tile.read(start);
        pad(weight, tile, some);
        cells.add_extents(tile, some);
        for (std::ptrdiff_t j = 0; j < tile.lead; ++j) {
            double* column = tile.dense + j * tile.stride;
            // Rows that are not there say what the last one does, without weight.
            for (std::ptrdiff_t i = tile.count; i < tile.padded; ++i) column[i] = column[tile.count - 1];
            Doubles smallest = load(least + j * LANES), largest = load(most + j * LANES);
            Doubles sum = load(sums + j * LANES), square = load(squares + j * LANES);
            for (std::ptrdiff_t r = 0; r < tile.padded; r += LANES) {
                const Doubles values = load(column + r), distance = values - centre[j], part = load(some + r) * distance;
                smallest = smaller(smallest, values);
                largest = larger(largest, values);
                sum += part;
                square += part * distance;
            }
            store(least + j * LANES, smallest);
            store(most + j * LANES, largest);
            store(sums + j * LANES, sum);
            store(squares + j * LANES, square);
        }
    }
    if (cells.there()) std::memcpy(sparse, cells.cell(0), static_cast<std::size_t>(8 * rows.sparse.columns) * sizeof(double));
    for (std::ptrdiff_t j = 0; j < tile.lead; ++j) {
        low[j] = INFINITE;
        high[j] = -INFINITE;
        for (int k = 0; k < LANES; ++k) {
            if (least[j * LANES + k] < low[j]) low[j] = least[j * LANES + k];
            if (most[j * LANES + k] > high[j]) high[j] = most[j * LANES + k];
        }
        first[j] = sum(load(sums + j * LANES));
        second[j] = sum(load(squares + j * LANES));
    }
}

}  // namespace
}  // namespace KERNEL_LEVEL
