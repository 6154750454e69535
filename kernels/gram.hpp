// X' diag(v) X of dense columns and groups of levels.
#pragma once

#include "products.hpp"

namespace KERNEL_LEVEL {
namespace {

// Adds up X' diag(v) X over tiles, straight into the result, whose last row and column take what has no level.
class Gram {
   public:
    Gram(const StoredRows& rows, const Tile& tile, double* gram, SymmetricUpdate update)
        : rows_(rows),
          update_(tile.lead >= BLAS_FROM ? update : nullptr),
          stride_(coefficients(rows) + 1),
          gram_(gram),
          length_(update_ ? LENGTH : tile.most),
          weighted_(static_cast<std::size_t>(gram ? (tile.lead + SPARE_COLUMNS) * uneven(length_) : 0)),
          across_(static_cast<std::size_t>(gram && rows.groups ? tile.most * tile.lead : 0)),
          places_(static_cast<std::size_t>(gram ? rows.groups * tile.most : 0)) {
        if (gram) clear(weighted_ + tile.lead * weighted_stride(), static_cast<std::size_t>(SPARE_COLUMNS * weighted_stride()));
    }

    void add(const Tile& tile, const double* values) {
        if (update_) {
            if (filled_ + tile.padded > length_) flush(tile.lead);
            weigh<true>(tile, values, static_cast<double*>(weighted_) + filled_);
            filled_ += tile.padded;
        } else {
            weigh<false>(tile, values, weighted_);
            multiply(tile);
        }
        if (rows_.groups) add_groups(tile, values);
    }

    void finish(std::ptrdiff_t lead) {
        if (update_ && filled_) flush(lead);
        // What the intercept meets of a level is what the level meets of itself.
        for (std::ptrdiff_t k = lead; gram_ && rows_.intercept && k < stride_; ++k) gram_[k] = gram_[k * (stride_ + 1)];
    }

   private:
    static constexpr std::ptrdiff_t BLAS_FROM = 192, LENGTH = 512;

    std::ptrdiff_t weighted_stride() const { return uneven(length_); }

    // The columns times the values, or times their roots: with BLAS one factor serves for both.
    template <bool ROOTS>
    void weigh(const Tile& tile, const double* values, double* to) const {
        double factors[MOST_TILE_ROWS];
        for (std::ptrdiff_t r = 0; r < tile.padded; ++r) factors[r] = ROOTS ? __builtin_sqrt(values[r]) : values[r];
        for (std::ptrdiff_t j = 0; j < tile.lead; ++j)
            for (std::ptrdiff_t r = 0; r < tile.padded; r += LANES)
                store(to + j * weighted_stride() + r, load(tile.column(j) + r) * load(factors + r));
    }

    void flush(std::ptrdiff_t lead) {
        // Fortran's lower triangle of columns is our upper one of rows.
        char lower = 'L', transposed = 'T';
        int size = static_cast<int>(lead), length = static_cast<int>(filled_);
        int a_stride = static_cast<int>(weighted_stride()), c_stride = static_cast<int>(stride_);
        double one = 1.0;
        update_(&lower, &transposed, &size, &length, &one, weighted_, &a_stride, &one, gram_, &c_stride);
        filled_ = 0;
    }

#if defined(__AVX512F__)
    static constexpr int DOWN = 4, ALONG = 6;
#else
    static constexpr int DOWN = 2, ALONG = 2;
#endif

    // Products of columns with weighted columns: all rows of the tile for a few pairs of columns at a time.
    void multiply(const Tile& tile) {
        for (std::ptrdiff_t b = 0; b < tile.lead; b += ALONG)
            for (std::ptrdiff_t a = 0; a < b + ALONG && a < tile.lead; a += DOWN) block(tile, a, b);
    }

    void block(const Tile& tile, std::ptrdiff_t a, std::ptrdiff_t b) {
        Doubles sums[DOWN][ALONG] = {};
        const double* left = tile.column(a);
        const double* right = weighted_ + b * weighted_stride();
        for (std::ptrdiff_t r = 0; r < tile.padded; r += LANES) {
            Doubles weighted[ALONG];
            for (int j = 0; j < ALONG; ++j) weighted[j] = load(right + j * weighted_stride() + r);
            for (int i = 0; i < DOWN; ++i) {
                const Doubles values = load(left + i * tile.stride + r);
                for (int j = 0; j < ALONG; ++j) sums[i][j] = fused(values, weighted[j], sums[i][j]);
            }
        }
        double products[DOWN][ALONG];
        for (int i = 0; i < DOWN; ++i)
            for (int j = 0; j < ALONG; ++j) products[i][j] = sum(sums[i][j]);
        const std::ptrdiff_t down = tile.lead - a < DOWN ? tile.lead - a : DOWN;
        const std::ptrdiff_t along = tile.lead - b < ALONG ? tile.lead - b : ALONG;
        for (std::ptrdiff_t i = 0; i < down; ++i)
            for (std::ptrdiff_t j = 0; j < along; ++j) gram_[(a + i) * stride_ + b + j] += products[i][j];
    }

    void add_groups(const Tile& tile, const double* values) {
        const std::ptrdiff_t lead = tile.lead, last = stride_ - 1, first = rows_.intercept ? 1 : 0;
        // The weighted dense columns of a row next to each other: they go to one level together.
        for (std::ptrdiff_t j = first; j < lead; ++j)
            for (std::ptrdiff_t i = 0; i < tile.count; ++i) across_[i * lead + j] = tile.column(j)[i] * values[i];
        for (std::ptrdiff_t g = 0; g < rows_.groups; ++g) {
            const std::ptrdiff_t start = group_start(rows_, g);
            std::ptrdiff_t* places = places_ + g * tile.most;
            for (std::ptrdiff_t i = 0; i < tile.count; ++i) {
                const std::int32_t code = tile.code(g)[i];
                places[i] = code < rows_.levels[g] ? start + code : last;
            }
            for (std::ptrdiff_t i = 0; first < lead && i < tile.count; ++i) {
                double* below = gram_ + places[i];
                const double* row = across_ + i * lead;
                for (std::ptrdiff_t j = first; j < lead; ++j) below[j * stride_] += row[j];
            }
            std::ptrdiff_t h = 0;
            for (; h + PAIRS_AT_ONCE <= g; h += PAIRS_AT_ONCE) add_pairs<PAIRS_AT_ONCE>(tile, values, places, h);
            for (; h <= g; ++h) add_pairs<1>(tile, values, places, h);
        }
    }

    static constexpr int PAIRS_AT_ONCE = 4;

    // A group with each of some others, or with itself, as `Sums::add_groups`.
    template <int AT_ONCE>
    void add_pairs(const Tile& tile, const double* values, const std::ptrdiff_t* places, std::ptrdiff_t others) const {
        const std::ptrdiff_t* other[AT_ONCE];
        for (int k = 0; k < AT_ONCE; ++k) other[k] = places_ + (others + k) * tile.most;
        for (std::ptrdiff_t i = 0; i < tile.count; ++i) {
            double* column = gram_ + places[i];
            const double value = values[i];
            for (int k = 0; k < AT_ONCE; ++k) column[other[k][i] * stride_] += value;
        }
    }

    const StoredRows& rows_;
    const SymmetricUpdate update_;
    const std::ptrdiff_t stride_;
    double* gram_;
    const std::ptrdiff_t length_;
    const Scratch<double> weighted_, across_;
    const Scratch<std::ptrdiff_t> places_;
    std::ptrdiff_t filled_ = 0;
};

}  // namespace
}  // namespace KERNEL_LEVEL
