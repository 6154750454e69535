#include "rows.hpp"

#include <limits>

#include "losses.hpp"
#include "row_major.hpp"
#include "sparse.hpp"

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

// The extents of rows that are read as they lie.
void extents_as_they_lie(const StoredRows& rows, const double* weight, const double* centre, double* low, double* high,
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

void extents(const StoredRows& rows, const double* weight, const double* centre, double* low, double* high,
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

// What `pass` keeps of the rows of a tile.
struct AtTile {
    double eta[MOST_TILE_ROWS], change[MOST_TILE_ROWS], sizes[MOST_TILE_ROWS], squares[MOST_TILE_ROWS];
    double label[MOST_TILE_ROWS], weight[MOST_TILE_ROWS], offset[MOST_TILE_ROWS];
    double slope[MOST_TILE_ROWS], curvature[MOST_TILE_ROWS], error[MOST_TILE_ROWS];
    std::ptrdiff_t first, count, padded;

    void read(std::ptrdiff_t start, std::ptrdiff_t rows, const Labels& labels) {
        first = start;
        count = rows;
        padded = (rows + LANES - 1) / LANES * LANES;
        fill(label, labels.label, 1.0, 1.0);
        fill(weight, labels.weight, 1.0, 0.0);
        fill(offset, labels.offset, 0.0, 0.0);
    }

   private:
    void fill(double* to, const double* from, double otherwise, double behind) const {
        if (from)
            std::memcpy(to, from + first, static_cast<std::size_t>(count) * sizeof(double));
        else
            for (std::ptrdiff_t i = 0; i < count; ++i) to[i] = otherwise;
        for (std::ptrdiff_t i = count; i < padded; ++i) to[i] = behind;
    }
};

// The products and sums of a pass over rows that are turned into tiles.
class Turned {
   public:
    static constexpr bool TURNS = true;

    Turned(const StoredRows& rows, Tile& tile, const Asked& asked, const Totals& totals)
        : rows_(rows), tile_(tile), asked_(asked), tables_(rows), size_tables_(rows), directions_(rows), square_tables_(rows),
          gradient_(rows), error_(rows), centre_(rows), magnitudes_(rows), known_(coefficients(rows)),
          every_(asked.sizes || asked.direction || asked.squares || totals.centre),
          few_(every_ ? none_ : rows), many_(every_ ? rows : none_), most(tile.most) {
        tables_.fill(asked.parameters);
        if (asked.sizes) size_tables_.fill(asked.sizes);
        if (asked.direction) directions_.fill(asked.direction);
        if (asked.squares) square_tables_.fill(asked.squares);
        few_.fill(0, asked.parameters + known_);
        many_.fill(0, asked.parameters + known_);
        if (asked.sizes) many_.fill(1, asked.sizes + known_);
        if (asked.direction) many_.fill(2, asked.direction + known_);
        if (asked.squares) many_.fill(3, asked.squares + known_, true);
    }

    void products(AtTile& at) {
        tile_.read(at.first);
        add_predictors(tile_, rows_, asked_.parameters, tables_, at.eta);
        if (asked_.sizes) add_sizes(tile_, rows_, asked_.sizes, size_tables_, at.sizes);
        if (asked_.direction) add_predictors(tile_, rows_, asked_.direction, directions_, at.change);
        if (asked_.squares) add_squares(tile_, rows_, asked_.squares, square_tables_, at.squares);
        few_.add_products(tile_, 0, at.eta);
        many_.add_all(tile_, at.eta, at.sizes, at.change, at.squares);
    }

    void add(const AtTile& at, const Totals& totals) {
        if (totals.gradient) {
            gradient_.add_dense(tile_, at.slope);
            gradient_.add_levels(tile_, at.slope);
            few_.scatter(tile_, 1, at.slope);
        }
        if (totals.error) {
            error_.add_dense(tile_, at.error, true);
            error_.add_levels(tile_, at.error);
        }
        if (totals.centre) {
            centre_.add_dense(tile_, at.curvature);
            centre_.add_levels(tile_, at.curvature);
            magnitudes_.add_dense(tile_, at.curvature, true);
        }
        many_.scatter_all(tile_, at.slope, at.error, at.curvature);
    }

    void write(const Totals& totals) const {
        if (totals.gradient) {
            gradient_.write(totals.gradient);
            few_.write(1, totals.gradient + known_);
            many_.write(4, totals.gradient + known_);
        }
        if (totals.error) {
            error_.write(totals.error);
            many_.write(5, totals.error + known_);
        }
        if (totals.centre) {
            centre_.write(totals.centre);
            magnitudes_.write(totals.magnitude, centre_);
            many_.write(6, totals.centre + known_);
            many_.write(7, totals.magnitude + known_);
        }
    }

   private:
    const StoredRows& rows_;
    Tile& tile_;
    const Asked asked_;
    const Tables tables_, size_tables_, directions_, square_tables_;
    Sums gradient_, error_, centre_, magnitudes_;
    const std::ptrdiff_t known_;
    // What a sparse column meets: parameter and gradient, or all that may be asked for.
    const bool every_;
    const StoredRows none_{};
    const SparseCells<2> few_;
    const SparseCells<8> many_;

   public:
    const std::ptrdiff_t most;  // rows at a time
};

// The same of rows that are read as they lie: predictors in another order, which the bounds on rounding allow.
class Direct {
   public:
    static constexpr bool TURNS = false;

    Direct(const StoredRows& rows, Tile&, const Asked& asked, const Totals&)
        : lead_(rows.intercept ? 1 : 0),
          every_(asked.sizes || asked.direction || asked.squares),
          columns_(rows, RowMajor::fitting(rows)),
          places_(columns_.places()),
          factors_(4 * places_),
          sums_(4 * places_),
          most(columns_.most) {
        clear(sums_, 4 * places_);
        clear(factors_, 4 * places_);
        const double* given[] = {asked.parameters, asked.sizes, asked.direction, asked.squares};
        for (int k = 0; k < 4; ++k) {
            intercepts_[k] = given[k] && lead_ ? given[k][0] : 0.0;
            if (given[k]) columns_.spread(given[k] + lead_, factors_ + k * places_);
        }
    }

    void products(AtTile& at) {
        const double* own = factors_;
        double* found[] = {at.eta, at.sizes, at.change, at.squares};
        columns_.products(at.first, at.count, {own, own + places_, own + 2 * places_, own + 3 * places_}, every_,
                          {found[0], found[1], found[2], found[3]});
        if (!lead_) return;
        for (int k = 0; k < (every_ ? 4 : 1); ++k)
            for (std::ptrdiff_t r = 0; r < at.padded; r += LANES) store(found[k] + r, load(found[k] + r) + intercepts_[k]);
    }

    void add(const AtTile& at, const Totals& totals) {
        double *gradient = sums_, *error = gradient + places_, *centre = error + places_, *magnitude = centre + places_;
        if (totals.gradient || totals.error)
            columns_.add(at.count, at.slope, totals.gradient ? gradient : nullptr, at.error, totals.error ? error : nullptr);
        if (totals.centre) columns_.add(at.count, at.curvature, centre, at.curvature, magnitude);
        for (std::ptrdiff_t r = 0; r < at.padded; r += LANES) {
            slopes_ += load(at.slope + r);
            if (totals.error) errors_ += load(at.error + r);
            curvatures_ += load(at.curvature + r);
        }
    }

    void write(const Totals& totals) const {
        double* results[] = {totals.gradient, totals.error, totals.centre, totals.magnitude};
        const Doubles ones[] = {slopes_, errors_, curvatures_, curvatures_};
        for (int k = 0; k < 4; ++k) {
            if (!results[k]) continue;
            if (lead_) results[k][0] = sum(ones[k]);
            columns_.gather(sums_ + k * places_, results[k] + lead_);
        }
    }

   private:
    const std::ptrdiff_t lead_;
    const bool every_;
    const RowMajor columns_;
    const std::size_t places_;
    const Scratch<double> factors_, sums_;
    double intercepts_[4];
    Doubles slopes_ = {}, errors_ = {}, curvatures_ = {};

   public:
    const std::ptrdiff_t most;
};

// What each row says, added up in eight lanes.
struct Running {
    Doubles value = {}, smallest = all(INFINITE), error = {}, curvature = {};
};

// e^x or, where all of it is small, a little more, for x >= 0.
Doubles exponential_from_above(Doubles x) {
    bool small = true;
    for (int k = 0; k < LANES; ++k) small &= x[k] < 1e-6;
    return small ? 1.0 + x * (1.0 + x) : exponential(x);
}

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
            const Doubles grown = Kind::self_concordance > 0.0 ? exponential_from_above(growth) : all(1.0);
            const Doubles change = row.curvature * grown * reach;
            store(at.error + r, weight * change + charges->slope * weight * row.size + charges->sum * magnitude(slope) +
                                    charges->underflow);
            running.error = larger(reach, running.error);
        }
    }
}

// The largest of what rows that count say.
Doubles largest_counted(const double* values, const AtTile& at, Doubles so_far) {
    for (std::ptrdiff_t r = 0; r < at.padded; r += LANES) {
        const Doubles size = magnitude(load(values + r));
        // What is no number is as large as can be: nothing may be bounded by it.
        const Doubles known = where_less(size, all(INFINITE), size, all(INFINITE));
        so_far = larger(where_less(all(0.0), load(at.weight + r), known, all(0.0)), so_far);
    }
    return so_far;
}

template <class Kind, class Products>
void pass_by(const StoredRows& rows, const Labels& labels, const Asked& asked, const Charges& charges, Totals& totals,
             SymmetricUpdate update) {
    Tile tile(rows);
    Products products(rows, tile, asked, totals);
    Gram gram(rows, tile, totals.gram, update);
    Scratch<AtTile> room(1);
    AtTile& at = *room;
    double curvature[MOST_TILE_ROWS];
    Running running;
    Doubles reach = {}, spread = {};
    for (std::ptrdiff_t start = 0; start < rows.rows; start += tile.most) {
        const std::ptrdiff_t end = rows.rows - start < tile.most ? rows.rows : start + tile.most;
        for (std::ptrdiff_t first = start; first < end; first += products.most) {
            at.read(first, end - first < products.most ? end - first : products.most, labels);
            products.products(at);
            at_rows<Kind>(at, at.padded, asked.sizes ? &charges : nullptr, running);
            if (asked.direction) reach = largest_counted(at.change, at, reach);
            if (asked.squares) spread = largest_counted(at.squares, at, spread);
            // Rows that are not there have no error.
            for (std::ptrdiff_t i = at.count; i < at.padded; ++i) at.error[i] = 0.0;
            products.add(at, totals);
            if (totals.gram) std::memcpy(curvature + (first - start), at.curvature, static_cast<std::size_t>(at.padded) * sizeof(double));
        }
        if (totals.gram) {
            if (!Products::TURNS) tile.read(start);
            gram.add(tile, curvature);
        }
    }
    if (totals.gram) gram.finish(tile.lead);
    products.write(totals);
    totals.value = sum(running.value);
    totals.curvature = sum(running.curvature);
    totals.smallest = INFINITE;
    totals.predictor = totals.reach = totals.spread = 0.0;
    for (int k = 0; k < LANES; ++k) {
        if (running.smallest[k] < totals.smallest) totals.smallest = running.smallest[k];
        if (!(running.error[k] <= totals.predictor)) totals.predictor = running.error[k];
        if (!(reach[k] <= totals.reach)) totals.reach = reach[k];
        if (!(spread[k] <= totals.spread)) totals.spread = spread[k];
    }
}

template <class Kind>
void pass_over(const StoredRows& rows, const Labels& labels, const double* parameters, const double* sizes,
               const double* direction, const double* squares, const Charges& charges, Totals& totals, SymmetricUpdate update) {
    const Asked asked{parameters, totals.error ? sizes : nullptr, direction, squares};
    if (RowMajor::serves(rows)) return pass_by<Kind, Direct>(rows, labels, asked, charges, totals, update);
    pass_by<Kind, Turned>(rows, labels, asked, charges, totals, update);
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
