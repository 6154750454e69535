#include "rows.hpp"

#include "extents.hpp"
#include "gram.hpp"
#include "losses.hpp"
#include "row_major.hpp"
#include "sparse.hpp"

namespace KERNEL_LEVEL {
namespace {

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
