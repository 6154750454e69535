// x' A x of the rows.
#pragma once

#include "products.hpp"

namespace KERNEL_LEVEL {
namespace {

// The matrix is symmetric; its last row and column, zeros, are those of no level.
inline void forms(const StoredRows& rows, const double* matrix, double* results) {
    Tile tile(rows);
    const std::ptrdiff_t stride = coefficients(rows) + 1, first = rows.intercept ? 1 : 0;
    const Scratch<std::ptrdiff_t> places(static_cast<std::size_t>(rows.groups * tile.most));
    double own[MOST_TILE_ROWS], others[MOST_TILE_ROWS];
    for (std::ptrdiff_t start = 0; start < rows.rows; start += tile.most) {
        tile.read(start);
        double* form = results + start;
        clear(form, static_cast<std::size_t>(tile.count));
        for (std::ptrdiff_t j = 0; j < tile.lead; ++j) {
            const double* column = tile.column(j);
            clear(others, static_cast<std::size_t>(tile.count));
            for (std::ptrdiff_t k = 0; k < j; ++k)
                for (std::ptrdiff_t i = 0; i < tile.count; ++i) others[i] += matrix[j * stride + k] * tile.column(k)[i];
            for (std::ptrdiff_t i = 0; i < tile.count; ++i)
                form[i] += column[i] * (matrix[j * (stride + 1)] * column[i] + 2.0 * others[i]);
        }
        // Column after column and group after group, so that no term goes through more additions than there are groups and columns, twice.
        for (std::ptrdiff_t g = 0; g < rows.groups; ++g) {
            const std::ptrdiff_t begin = group_start(rows, g);
            std::ptrdiff_t* place = places + g * tile.most;
            for (std::ptrdiff_t i = 0; i < tile.count; ++i) {
                const std::int32_t code = tile.code(g)[i];
                place[i] = code < rows.levels[g] ? begin + code : stride - 1;
                own[i] = matrix[place[i] * (stride + 1)];
                others[i] = first ? matrix[place[i]] : 0.0;
            }
            for (std::ptrdiff_t j = first; j < tile.lead; ++j)
                for (std::ptrdiff_t i = 0; i < tile.count; ++i) others[i] += tile.column(j)[i] * matrix[j * stride + place[i]];
            std::ptrdiff_t h = 0;
            for (; h + GROUPS_AT_ONCE <= g; h += GROUPS_AT_ONCE) {
                const std::ptrdiff_t* there = places + h * tile.most;
                for (std::ptrdiff_t i = 0; i < tile.count; ++i)
                    for (int k = 0; k < GROUPS_AT_ONCE; ++k) others[i] += matrix[there[k * tile.most + i] * stride + place[i]];
            }
            for (; h < g; ++h) {
                const std::ptrdiff_t* there = places + h * tile.most;
                for (std::ptrdiff_t i = 0; i < tile.count; ++i) others[i] += matrix[there[i] * stride + place[i]];
            }
            for (std::ptrdiff_t i = 0; i < tile.count; ++i) form[i] += own[i] + 2.0 * others[i];
        }
    }
}

}  // namespace
}  // namespace KERNEL_LEVEL
