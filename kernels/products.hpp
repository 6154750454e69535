// Products of the rows of a tile with vectors, and sums over them: dense columns, and a table of coefficients a group.
#pragma once

#include "tiles.hpp"

namespace KERNEL_LEVEL {
namespace {

// Where each group's coefficients begin.
inline std::ptrdiff_t group_start(const StoredRows& rows, std::ptrdiff_t group) {
    std::ptrdiff_t start = rows.lead();
    for (std::ptrdiff_t g = 0; g < group; ++g) start += rows.levels[g];
    return start;
}

// The coefficients in front of those of a sparse part.
inline std::ptrdiff_t coefficients(const StoredRows& rows) { return group_start(rows, rows.groups); }

// A coefficient for each code, the last of each group 0: no level, nothing added.
class Tables {
   public:
    explicit Tables(const StoredRows& rows) : rows_(rows), values(size(rows)) {}

    double* of(std::ptrdiff_t group) const {
        std::ptrdiff_t start = 0;
        for (std::ptrdiff_t g = 0; g < group; ++g) start += rows_.levels[g] + 1;
        return values + start;
    }

    void fill(const double* parameters) const {
        for (std::ptrdiff_t g = 0; g < rows_.groups; ++g) {
            const double* from = parameters + group_start(rows_, g);
            double* table = of(g);
            for (std::int64_t level = 0; level < rows_.levels[g]; ++level) table[level] = from[level];
            table[rows_.levels[g]] = 0.0;
        }
    }

    static std::size_t size(const StoredRows& rows) {
        return static_cast<std::size_t>(coefficients(rows) - rows.lead() + rows.groups);
    }

   private:
    const StoredRows& rows_;

   public:
    const Scratch<double> values;
};

// X w, one column after the other, each product rounded: the bits of `design.linear_predictor`.
inline void add_predictors(const Tile& tile, const StoredRows& rows, const double* parameters, const Tables& tables, double* eta) {
    constexpr int AT_ONCE = 4;
    std::ptrdiff_t r = 0;
    for (; r + AT_ONCE * LANES <= tile.padded; r += AT_ONCE * LANES) {
        Doubles sums[AT_ONCE] = {};
        for (std::ptrdiff_t j = 0; j < tile.lead; ++j)
            for (int k = 0; k < AT_ONCE; ++k) sums[k] += parameters[j] * load(tile.column(j) + r + k * LANES);
        for (int k = 0; k < AT_ONCE; ++k) store(eta + r + k * LANES, sums[k]);
    }
    for (; r < tile.padded; r += LANES) {
        Doubles sum = {};
        for (std::ptrdiff_t j = 0; j < tile.lead; ++j) sum += parameters[j] * load(tile.column(j) + r);
        store(eta + r, sum);
    }
    for (std::ptrdiff_t g = 0; g < rows.groups; ++g) {
        const std::int32_t* codes = tile.code(g);
        const double* table = tables.of(g);
        for (std::ptrdiff_t i = 0; i < tile.count; ++i) eta[i] += table[codes[i]];
    }
}

// X^2 u, as `add_predictors`; indicators are their own squares.
inline void add_squares(const Tile& tile, const StoredRows& rows, const double* factors, const Tables& tables, double* sums) {
    for (std::ptrdiff_t r = 0; r < tile.padded; r += LANES) {
        Doubles sum = {};
        for (std::ptrdiff_t j = 0; j < tile.lead; ++j) {
            const Doubles values = load(tile.column(j) + r);
            sum += factors[j] * (values * values);
        }
        store(sums + r, sum);
    }
    for (std::ptrdiff_t g = 0; g < rows.groups; ++g) {
        const std::int32_t* codes = tile.code(g);
        const double* table = tables.of(g);
        for (std::ptrdiff_t i = 0; i < tile.count; ++i) sums[i] += table[codes[i]];
    }
}

// |X| |w|, as `add_predictors`.
inline void add_sizes(const Tile& tile, const StoredRows& rows, const double* parameters, const Tables& tables, double* sizes) {
    for (std::ptrdiff_t r = 0; r < tile.padded; r += LANES) {
        Doubles sum = {};
        for (std::ptrdiff_t j = 0; j < tile.lead; ++j) sum += magnitude(parameters[j] * load(tile.column(j) + r));
        store(sizes + r, sum);
    }
    for (std::ptrdiff_t g = 0; g < rows.groups; ++g) {
        const std::int32_t* codes = tile.code(g);
        const double* table = tables.of(g);
        for (std::ptrdiff_t i = 0; i < tile.count; ++i) sizes[i] += __builtin_fabs(table[codes[i]]);
    }
}

// Adds up X' v over tiles: eight sums a dense column, one a level.
class Sums {
   public:
    explicit Sums(const StoredRows& rows)
        : rows_(rows), tables(rows), lanes_(static_cast<std::size_t>(rows.lead() * LANES)) {
        clear(lanes_, static_cast<std::size_t>(rows.lead() * LANES));
        clear(tables.values, Tables::size(rows));
    }

    void add_dense(const Tile& tile, const double* values, bool absolute = false) {
        constexpr int AT_ONCE = 4;
        std::ptrdiff_t j = 0;
        for (; j + AT_ONCE <= tile.lead; j += AT_ONCE) add_columns<AT_ONCE>(tile, values, j, absolute);
        for (; j < tile.lead; ++j) add_columns<1>(tile, values, j, absolute);
    }

    void add_levels(const Tile& tile, const double* values) {
        for (std::ptrdiff_t g = 0; g < rows_.groups; ++g) {
            const std::int32_t* codes = tile.code(g);
            double* table = tables.of(g);
            for (std::ptrdiff_t i = 0; i < tile.count; ++i) table[codes[i]] += values[i];
        }
    }

    // The levels of `other` stand for those of these, where indicators are their own size.
    void write(double* total, const Sums& other) const {
        for (std::ptrdiff_t j = 0; j < rows_.lead(); ++j) total[j] = sum(load(lanes_ + j * LANES));
        for (std::ptrdiff_t g = 0; g < rows_.groups; ++g)
            for (std::int64_t level = 0; level < rows_.levels[g]; ++level)
                total[group_start(rows_, g) + level] = other.tables.of(g)[level];
    }

    void write(double* total) const { write(total, *this); }

   private:
    template <int AT_ONCE>
    void add_columns(const Tile& tile, const double* values, std::ptrdiff_t j, bool absolute) {
        Doubles sums[AT_ONCE];
        for (int k = 0; k < AT_ONCE; ++k) sums[k] = load(lanes_ + (j + k) * LANES);
        if (absolute)
            for (std::ptrdiff_t r = 0; r < tile.padded; r += LANES)
                for (int k = 0; k < AT_ONCE; ++k) sums[k] += load(values + r) * magnitude(load(tile.column(j + k) + r));
        else
            for (std::ptrdiff_t r = 0; r < tile.padded; r += LANES)
                for (int k = 0; k < AT_ONCE; ++k) sums[k] += load(values + r) * load(tile.column(j + k) + r);
        for (int k = 0; k < AT_ONCE; ++k) store(lanes_ + (j + k) * LANES, sums[k]);
    }

    const StoredRows& rows_;

   public:
    const Tables tables;

   private:
    const Scratch<double> lanes_;
};

// The values of a tile's rows with zeros behind them.
inline void pad(const double* values, const Tile& tile, double* to) {
    for (std::ptrdiff_t i = 0; i < tile.padded; ++i) to[i] = i < tile.count ? values[tile.first + i] : 0.0;
}

}  // namespace
}  // namespace KERNEL_LEVEL
