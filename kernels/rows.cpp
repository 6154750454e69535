#include "rows.hpp"

#include <limits>

#include "losses.hpp"
#include "sparse.hpp"
#include "tiles.hpp"

namespace KERNEL_LEVEL {
namespace {

constexpr double INFINITE = std::numeric_limits<double>::infinity();

// Where each group's coefficients begin.
std::ptrdiff_t group_start(const StoredRows& rows, std::ptrdiff_t group) {
    std::ptrdiff_t start = rows.lead();
    for (std::ptrdiff_t g = 0; g < group; ++g) start += rows.levels[g];
    return start;
}

// The coefficients in front of those of a sparse part.
std::ptrdiff_t coefficients(const StoredRows& rows) { return group_start(rows, rows.groups); }

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
void add_predictors(const Tile& tile, const StoredRows& rows, const double* parameters, const Tables& tables, double* eta) {
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
void add_squares(const Tile& tile, const StoredRows& rows, const double* factors, const Tables& tables, double* sums) {
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
void add_sizes(const Tile& tile, const StoredRows& rows, const double* parameters, const Tables& tables, double* sizes) {
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
        const std::ptrdiff_t lead = tile.lead, last = stride_ - 1;
        // The weighted dense columns of a row next to each other: they go to one level together.
        for (std::ptrdiff_t j = 0; j < lead; ++j)
            for (std::ptrdiff_t i = 0; i < tile.count; ++i) across_[i * lead + j] = tile.column(j)[i] * values[i];
        for (std::ptrdiff_t g = 0; g < rows_.groups; ++g) {
            const std::ptrdiff_t start = group_start(rows_, g);
            std::int32_t* places = places_ + g * tile.most;
            for (std::ptrdiff_t i = 0; i < tile.count; ++i) {
                const std::int32_t code = tile.code(g)[i];
                places[i] = static_cast<std::int32_t>(code < rows_.levels[g] ? start + code : last);
            }
            for (std::ptrdiff_t i = 0; i < tile.count; ++i) {
                double* below = gram_ + places[i];
                const double* row = across_ + i * lead;
                for (std::ptrdiff_t j = 0; j < lead; ++j) below[j * stride_] += row[j];
            }
            for (std::ptrdiff_t h = 0; h < g; ++h) {
                const std::int32_t* others = places_ + h * tile.most;
                for (std::ptrdiff_t i = 0; i < tile.count; ++i) gram_[others[i] * stride_ + places[i]] += values[i];
            }
            for (std::ptrdiff_t i = 0; i < tile.count; ++i) gram_[places[i] * (stride_ + 1)] += values[i];
        }
    }

    const StoredRows& rows_;
    const SymmetricUpdate update_;
    const std::ptrdiff_t stride_;
    double* gram_;
    const std::ptrdiff_t length_;
    const Scratch<double> weighted_, across_;
    const Scratch<std::int32_t> places_;
    std::ptrdiff_t filled_ = 0;
};

void predictors(const StoredRows& rows, const double* parameters, double* eta) {
    Tile tile(rows);
    const Tables tables(rows);
    tables.fill(parameters);
    const SparseCells<1> sparse(rows);
    sparse.fill(0, parameters + coefficients(rows));
    double some[MOST_TILE_ROWS];
    for (std::ptrdiff_t start = 0; start < rows.rows; start += tile.most) {
        tile.read(start);
        add_predictors(tile, rows, parameters, tables, some);
        sparse.add_products(tile, 0, some);
        std::memcpy(eta + start, some, static_cast<std::size_t>(tile.count) * sizeof(double));
    }
}

// The values of a tile's rows with zeros behind them.
void pad(const double* values, const Tile& tile, double* to) {
    for (std::ptrdiff_t i = 0; i < tile.padded; ++i) to[i] = i < tile.count ? values[tile.first + i] : 0.0;
}

void transposed(const StoredRows& rows, const double* values, double* total) {
    Tile tile(rows);
    Sums sums(rows);
    const SparseCells<1> sparse(rows);
    double some[MOST_TILE_ROWS];
    for (std::ptrdiff_t start = 0; start < rows.rows; start += tile.most) {
        tile.read(start);
        pad(values, tile, some);
        sums.add_dense(tile, some);
        sums.add_levels(tile, some);
        sparse.scatter(tile, 0, some);
    }
    sums.write(total);
    sparse.write(0, total + coefficients(rows));
}

void gram(const StoredRows& rows, const double* values, double* result, SymmetricUpdate update) {
    Tile tile(rows);
    Gram sums(rows, tile, result, update);
    double some[MOST_TILE_ROWS];
    for (std::ptrdiff_t start = 0; start < rows.rows; start += tile.most) {
        tile.read(start);
        pad(values, tile, some);
        sums.add(tile, some);
    }
    sums.finish(tile.lead);
}

void extents(const StoredRows& rows, const double* weight, const double* centre, double* low, double* high,
             double* first, double* second, double* sparse) {
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

// What `pass` keeps of the rows of a tile.
struct AtTile {
    double eta[MOST_TILE_ROWS], change[MOST_TILE_ROWS], sizes[MOST_TILE_ROWS];
    double spread[MOST_TILE_ROWS];
    double label[MOST_TILE_ROWS], weight[MOST_TILE_ROWS], offset[MOST_TILE_ROWS];
    double slope[MOST_TILE_ROWS], curvature[MOST_TILE_ROWS], error[MOST_TILE_ROWS];

    void read(const Tile& tile, const Labels& labels) {
        for (std::ptrdiff_t i = 0; i < tile.padded; ++i) {
            const bool there = i < tile.count;
            label[i] = there ? labels.label[tile.first + i] : 1.0;
            weight[i] = !there ? 0.0 : labels.weight ? labels.weight[tile.first + i] : 1.0;
            offset[i] = there && labels.offset ? labels.offset[tile.first + i] : 0.0;
        }
    }
};

// What each row says, added up in eight lanes.
struct Running {
    Doubles value = {}, smallest = all(INFINITE), error = {}, curvature = {};
};

template <class Kind>
void at_rows(AtTile& at, std::ptrdiff_t padded, const Charges* charges, Running& running) {
    for (std::ptrdiff_t r = 0; r < padded; r += LANES) {
        const Doubles weight = load(at.weight + r), label = load(at.label + r), offset = load(at.offset + r);
        // A row without weight has no say, and must not overflow.
        const Doubles none = all(0.0), eta = where_less(none, weight, load(at.eta + r) + offset, none);
        const AtRow row = Kind::at(eta, label);
        const Doubles slope = weight * row.slope, curvature = weight * row.curvature;
        running.value += weight * row.value;
        running.smallest = smaller(where_less(none, weight, curvature, all(INFINITE)), running.smallest);
        running.curvature += curvature;
        store(at.slope + r, slope);
        store(at.curvature + r, curvature);
        if (charges) {
            const Doubles size = where_less(none, weight, load(at.sizes + r) + magnitude(offset), none);
            const Doubles reach = charges->predictor * size, growth = Kind::self_concordance * reach;
            const Doubles grown = Kind::self_concordance > 0.0 ? exponential(growth) : all(1.0);
            const Doubles change = row.curvature * grown * reach;
            store(at.error + r, weight * change + charges->slope * weight * row.size + charges->sum * magnitude(slope) +
                                    charges->underflow);
            running.error = larger(reach, running.error);
        }
    }
}

template <class Kind>
void pass_over(const StoredRows& rows, const Labels& labels, const double* parameters, const double* sizes,
               const double* direction, const double* squares, const Charges& charges, Totals& totals, SymmetricUpdate update) {
    Tile tile(rows);
    const Tables tables(rows), size_tables(rows), directions(rows), square_tables(rows);
    tables.fill(parameters);
    size_tables.fill(sizes);
    if (direction) directions.fill(direction);
    if (squares) square_tables.fill(squares);
    Sums gradient(rows), error(rows), centre(rows), magnitudes(rows);
    const bool rounded = totals.error != nullptr;
    Gram gram(rows, tile, totals.gram, update);
    // What a sparse column meets: parameter and gradient, or all that may be asked for.
    const bool all = rounded || direction || squares || totals.centre;
    const StoredRows none{};
    const SparseCells<2> few(all ? none : rows);
    const SparseCells<8> many(all ? rows : none);
    const std::ptrdiff_t known = coefficients(rows);
    few.fill(0, parameters + known);
    many.fill(0, parameters + known);
    many.fill(1, sizes + known);
    if (direction) many.fill(2, direction + known);
    if (squares) many.fill(3, squares + known, true);
    Scratch<AtTile> room(1);
    AtTile& at = *room;
    Running running;
    double reach = 0.0, spread = 0.0;
    for (std::ptrdiff_t start = 0; start < rows.rows; start += tile.most) {
        tile.read(start);
        at.read(tile, labels);
        add_predictors(tile, rows, parameters, tables, at.eta);
        if (rounded) add_sizes(tile, rows, sizes, size_tables, at.sizes);
        if (direction) add_predictors(tile, rows, direction, directions, at.change);
        if (squares) add_squares(tile, rows, squares, square_tables, at.spread);
        few.add_products(tile, 0, at.eta);
        many.add_all(tile, at.eta, at.sizes, at.change, at.spread);
        at_rows<Kind>(at, tile.padded, rounded ? &charges : nullptr, running);
        for (std::ptrdiff_t i = 0; direction && i < tile.count; ++i)
            if (at.weight[i] > 0.0 && !(__builtin_fabs(at.change[i]) <= reach)) reach = __builtin_fabs(at.change[i]);
        for (std::ptrdiff_t i = 0; squares && i < tile.count; ++i)
            if (at.weight[i] > 0.0 && !(at.spread[i] <= spread)) spread = at.spread[i];
        if (totals.gradient) {
            gradient.add_dense(tile, at.slope);
            gradient.add_levels(tile, at.slope);
            few.scatter(tile, 1, at.slope);
        }
        if (totals.gram) gram.add(tile, at.curvature);
        if (rounded) {
            // Rows that are not there have no error.
            for (std::ptrdiff_t i = tile.count; i < tile.padded; ++i) at.error[i] = 0.0;
            error.add_dense(tile, at.error, true);
            error.add_levels(tile, at.error);
        }
        if (totals.centre) {
            centre.add_dense(tile, at.curvature);
            centre.add_levels(tile, at.curvature);
            magnitudes.add_dense(tile, at.curvature, true);
        }
        many.scatter_all(tile, at.slope, at.error, at.curvature);
    }
    if (totals.gram) gram.finish(tile.lead);
    if (totals.gradient) {
        gradient.write(totals.gradient);
        few.write(1, totals.gradient + known);
        many.write(4, totals.gradient + known);
    }
    if (rounded) {
        error.write(totals.error);
        many.write(5, totals.error + known);
    }
    if (totals.centre) {
        centre.write(totals.centre);
        magnitudes.write(totals.magnitude, centre);
        many.write(6, totals.centre + known);
        many.write(7, totals.magnitude + known);
    }
    totals.value = sum(running.value);
    totals.curvature = sum(running.curvature);
    totals.smallest = INFINITE;
    totals.predictor = 0.0;
    totals.reach = reach;
    totals.spread = spread;
    for (int k = 0; k < LANES; ++k) {
        if (running.smallest[k] < totals.smallest) totals.smallest = running.smallest[k];
        if (!(running.error[k] <= totals.predictor)) totals.predictor = running.error[k];
    }
}

void pass(const StoredRows& rows, const Labels& labels, Loss loss, const double* parameters, const double* sizes,
          const double* direction, const double* squares, const Charges& charges, Totals& totals, SymmetricUpdate update) {
    switch (loss) {
        case Loss::SQUARED: return pass_over<Squared>(rows, labels, parameters, sizes, direction, squares, charges, totals, update);
        case Loss::LOGISTIC: return pass_over<Logistic>(rows, labels, parameters, sizes, direction, squares, charges, totals, update);
        case Loss::POISSON: return pass_over<Poisson>(rows, labels, parameters, sizes, direction, squares, charges, totals, update);
        case Loss::GAMMA: return pass_over<Gamma>(rows, labels, parameters, sizes, direction, squares, charges, totals, update);
    }
}

}  // namespace

extern const RowKernels row_kernels = {predictors, transposed, gram, extents, pass};

}  // namespace KERNEL_LEVEL
