#include "outputs.hpp"

#include "tiles.hpp"

namespace KERNEL_LEVEL {
namespace {

constexpr double INFINITE = __builtin_huge_val();

template <Entries KIND>
inline double entry(double x) {
    return KIND == Entries::SQUARED ? x * x : KIND == Entries::ABSOLUTE ? __builtin_fabs(x) : x;
}

// So many rows of dense columns at a time, as there are registers for: factors are read once for all of them.
constexpr int ROWS = PART == 8 ? 16 : 8;

template <Entries KIND, int COUNT>
inline void dense_products(const Tile& tile, std::ptrdiff_t first, const double* matrix, std::ptrdiff_t places, double* to) {
    for (std::ptrdiff_t p = 0; p < places; p += LANES) {
        Doubles sums[COUNT] = {};
        for (std::ptrdiff_t j = 0; j < tile.lead; ++j) {
            const Doubles factors = load(matrix + j * places + p);
            const double* column = tile.column(j) + first;
            for (int i = 0; i < COUNT; ++i) sums[i] += entry<KIND>(column[i]) * factors;
        }
        for (int i = 0; i < COUNT; ++i) store(to + (first + i) * places + p, sums[i]);
    }
}

// Each row of a tile with each coefficient of a level that it has, group after group.
template <class Work>
inline void each_level(const Tile& tile, const StoredRows& rows, Work work) {
    std::ptrdiff_t first = tile.lead;
    for (std::ptrdiff_t g = 0; g < rows.groups; first += rows.levels[g++])
        for (std::ptrdiff_t r = 0; r < tile.count; ++r)
            if (tile.code(g)[r] < rows.levels[g]) work(r, first + tile.code(g)[r]);
}

inline void add(const double* from, std::ptrdiff_t places, double* to) {
    for (std::ptrdiff_t p = 0; p < places; p += LANES) store(to + p, load(to + p) + load(from + p));
}

// X M of the rows of a tile, (rows, places): dense columns first, in order, then groups: a row's bits are its own.
template <Entries KIND>
void products(const Tile& tile, const StoredRows& rows, const double* matrix, std::ptrdiff_t places, double* to) {
    std::ptrdiff_t first = 0;
    for (; first + ROWS <= tile.padded; first += ROWS) dense_products<KIND, ROWS>(tile, first, matrix, places, to);
    for (; first < tile.padded; first += LANES) dense_products<KIND, LANES>(tile, first, matrix, places, to);
    each_level(tile, rows, [&](std::ptrdiff_t row, std::ptrdiff_t level) {
        add(matrix + level * places, places, to + row * places);
    });
}

template <Entries KIND, int COLUMNS>
void add_columns(const Tile& tile, std::ptrdiff_t first, const double* values, std::ptrdiff_t places, double* sums) {
    for (std::ptrdiff_t p = 0; p < places; p += LANES) {
        Doubles running[COLUMNS];
        for (int k = 0; k < COLUMNS; ++k) running[k] = load(sums + (first + k) * places + p);
        for (std::ptrdiff_t r = 0; r < tile.count; ++r) {
            const Doubles own = load(values + r * places + p);
            for (int k = 0; k < COLUMNS; ++k) running[k] += entry<KIND>(tile.column(first + k)[r]) * own;
        }
        for (int k = 0; k < COLUMNS; ++k) store(sums + (first + k) * places + p, running[k]);
    }
}

// Adds X' values of the rows of a tile, (rows, places), to sums, (coefficients, places).
template <Entries KIND>
void add_sums(const Tile& tile, const StoredRows& rows, const double* values, std::ptrdiff_t places, double* sums) {
    std::ptrdiff_t j = 0;
    for (; j + LANES <= tile.lead; j += LANES) add_columns<KIND, LANES>(tile, j, values, places, sums);
    for (; j < tile.lead; ++j) add_columns<KIND, 1>(tile, j, values, places, sums);
    each_level(tile, rows, [&](std::ptrdiff_t row, std::ptrdiff_t level) {
        add(values + row * places, places, sums + level * places);
    });
}

// Eight rows of all places, turned: one vector a place, or back.
inline void turned(const double* from, std::ptrdiff_t places, Doubles* to) {
    for (std::ptrdiff_t p = 0; p < places; p += LANES) turn<double>(from + p, places, to + p);
}

inline void turned_back(const Doubles* from, std::ptrdiff_t places, double* to) {
    for (std::ptrdiff_t p = 0; p < places; p += LANES) {
        Doubles out[LANES];
        turn<double>(reinterpret_cast<const double*>(from + p), LANES, out);
        for (int i = 0; i < LANES; ++i) store(to + i * places + p, out[i]);
    }
}

struct Range {
    Doubles low, high;
};

inline Range range_of(const Doubles* values, std::ptrdiff_t classes) {
    Range range{values[0], values[0]};
    for (std::ptrdiff_t k = 1; k < classes; ++k) {
        range.low = smaller(values[k], range.low);
        range.high = larger(values[k], range.high);
    }
    return range;
}

// Of eight rows.
struct AtRows {
    Doubles label, weight;

    Doubles counted(Doubles value, Doubles otherwise) const { return where_less(all(0.0), weight, value, otherwise); }
    // The larger of what was met so far and what a row that counts says; what is no number is as large as can be.
    Doubles largest(Doubles value, Doubles so_far) const {
        return larger(counted(where_less(value, all(INFINITE), value, all(INFINITE)), all(0.0)), so_far);
    }
};

// What is added up in eight lanes.
struct Running {
    Doubles value = {}, smallest = all(INFINITE), error = {}, reach = {}, spread = {};
};

struct Softmax {
    std::ptrdiff_t classes, places;
    Doubles logits[MOST_CLASSES], shares[MOST_CLASSES], slopes[MOST_CLASSES], beside[MOST_CLASSES + 1];
    Range range;

    // Logits, (8, places), become weighted slopes.
    void at(const AtRows& rows, double* numbers, Running& running) {
        turned(numbers, places, logits);
        // A row without weight has no say, and must not overflow.
        for (std::ptrdiff_t k = 0; k < classes; ++k) logits[k] = rows.counted(logits[k], all(0.0));
        range = range_of(logits, classes);
        Doubles own = {}, base = {}, others = {};
        for (std::ptrdiff_t k = 0; k < classes; ++k) {
            const Doubles away = magnitude(rows.label - static_cast<double>(k)), half = all(0.5);
            shares[k] = exponential(logits[k] - range.high);
            own = where_less(away, half, logits[k], own);
            base = where_less(away, half, shares[k], base);
            others += where_less(away, half, all(0.0), shares[k]);
        }
        // ln(whole), and what was lost of the others in it: nothing cancels where the row's class is all but certain.
        const Doubles whole = base + others, part = 1.0 / whole, none = all(0.0);
        running.value += rows.weight * ((range.high - own) + (logarithm(whole) + (others - (whole - base)) * part));
        Doubles least = all(INFINITE), next = all(INFINITE);
        for (std::ptrdiff_t k = 0; k < classes; ++k) {
            const Doubles share = shares[k] = shares[k] * part;
            next = smaller(larger(share, least), next);
            least = smaller(share, least);
            const Doubles away = magnitude(rows.label - static_cast<double>(k));
            slopes[k] = rows.weight * where_less(away, all(0.5), none - others * part, share);
        }
        for (std::ptrdiff_t k = classes; k < places; ++k) slopes[k] = none;
        const Doubles curvature = rows.weight * (least * next / larger(least + next, all(1e-300)));
        running.smallest = smaller(rows.counted(curvature, all(INFINITE)), running.smallest);
        turned_back(slopes, places, numbers);
    }

    // Sizes of the logits, (8, places), become what the slopes can be off by, those of `at` before.
    void errors_at(const AtRows& rows, const Charges& charges, double* numbers, Running& running) {
        Doubles sizes[MOST_CLASSES];
        turned(numbers, places, sizes);
        const Doubles reach = 2.0 * charges.predictor * rows.counted(range_of(sizes, classes).high, all(0.0));
        running.error = rows.largest(reach, running.error);
        const Doubles moved = rows.weight * (exponential(reach) * reach);
        // Of exponentials and their sum, in eighths of what a slope is charged for (`SoftmaxLoss.slope_magnitude`).
        const Doubles lost = (2.0 * (range.high - range.low) + static_cast<double>(3 * classes + 16)) * 0.125;
        const Doubles relative = charges.slope * lost + charges.sum;
        // 1 - p as the sum of the others: nothing cancels near one.
        beside[classes] = Doubles{};
        for (std::ptrdiff_t k = classes; k-- > 0;) beside[k] = beside[k + 1] + shares[k];
        Doubles before = {};
        for (std::ptrdiff_t k = 0; k < classes; ++k) {
            const Doubles variance = shares[k] * (before + beside[k + 1]);
            before += shares[k];
            sizes[k] = variance * moved + relative * magnitude(slopes[k]) + charges.underflow;
        }
        for (std::ptrdiff_t k = classes; k < places; ++k) sizes[k] = Doubles{};
        turned_back(sizes, places, numbers);
    }
};

double largest_lane(Doubles lanes) {
    double most = 0.0;
    for (int k = 0; k < LANES; ++k)
        if (!(lanes[k] <= most)) most = lanes[k];
    return most;
}

Doubles eight_of(const double* from, std::ptrdiff_t first, std::ptrdiff_t end, double otherwise, double behind) {
    Doubles values;
    for (int i = 0; i < LANES; ++i) values[i] = first + i >= end ? behind : from ? from[first + i] : otherwise;
    return values;
}

void pass(const StoredRows& rows, const Labels& labels, std::ptrdiff_t classes, const ClassFactors& factors,
          const Charges& charges, ClassTotals& totals) {
    Tile tile(rows);
    const std::ptrdiff_t places = (classes + LANES - 1) / LANES * LANES;
    const std::size_t room = static_cast<std::size_t>((tile.most + LANES) * places);
    const Scratch<double> slopes(room), others(room);
    Softmax softmax{};
    softmax.classes = classes, softmax.places = places;
    Running running;
    Doubles turned_change[MOST_CLASSES];
    for (std::ptrdiff_t start = 0; start < rows.rows; start += tile.most) {
        tile.read(start);
        const auto at = [&](std::ptrdiff_t r) {
            return AtRows{eight_of(labels.label, start + r, rows.rows, 0.0, 0.0), eight_of(labels.weight, start + r, rows.rows, 1.0, 0.0)};
        };
        products<Entries::AS_THEY_ARE>(tile, rows, factors.logits, places, slopes);
        if (totals.errors) products<Entries::ABSOLUTE>(tile, rows, factors.sizes, places, others);
        for (std::ptrdiff_t r = 0; r < tile.padded; r += LANES) {
            const AtRows here = at(r);
            softmax.at(here, slopes + r * places, running);
            if (totals.errors) softmax.errors_at(here, charges, others + r * places, running);
        }
        if (totals.slopes) add_sums<Entries::AS_THEY_ARE>(tile, rows, slopes, places, totals.slopes);
        if (totals.errors) add_sums<Entries::ABSOLUTE>(tile, rows, others, places, totals.errors);
        if (factors.direction) {
            products<Entries::AS_THEY_ARE>(tile, rows, factors.direction, places, others);
            for (std::ptrdiff_t r = 0; r < tile.padded; r += LANES) {
                turned(others + r * places, places, turned_change);
                const Range range = range_of(turned_change, classes);
                running.reach = at(r).largest(range.high - range.low, running.reach);
            }
        }
        if (factors.squares) {
            products<Entries::SQUARED>(tile, rows, factors.squares, places, others);
            for (std::ptrdiff_t r = 0; r < tile.padded; r += LANES) {
                turn<double>(others + r * places, places, turned_change);
                running.spread = at(r).largest(turned_change[0], running.spread);
            }
        }
    }
    totals.value = sum(running.value);
    totals.smallest = INFINITE;
    for (int k = 0; k < LANES; ++k)
        if (running.smallest[k] < totals.smallest) totals.smallest = running.smallest[k];
    totals.error = largest_lane(running.error);
    totals.reach = largest_lane(running.reach);
    totals.spread = largest_lane(running.spread);
}

// Of eight rows what their dense columns have with each other: each entry of the triangles is read once for all of them.
void dense_forms(const Tile& tile, std::ptrdiff_t first, const double* triangles, std::ptrdiff_t places, double* to) {
    for (std::ptrdiff_t p = 0; p < places; p += LANES) {
        Doubles whole[LANES] = {};
        const double* entries = triangles + p;
        for (std::ptrdiff_t a = 0; a < tile.lead; ++a) {
            Doubles sums[LANES] = {};
            for (std::ptrdiff_t b = 0; b <= a; ++b, entries += places) {
                const Doubles entry = load(entries);
                const double* column = tile.column(b) + first;
                for (int i = 0; i < LANES; ++i) sums[i] += column[i] * entry;
            }
            const double* column = tile.column(a) + first;
            for (int i = 0; i < LANES; ++i) whole[i] += column[i] * sums[i];
        }
        for (int i = 0; i < LANES; ++i) store(to + i * places + p, whole[i]);
    }
}

// What the levels of a row have with its dense columns and with each other.
void level_forms(const Tile& tile, const StoredRows& rows, std::ptrdiff_t r, const double* triangles, std::ptrdiff_t places,
                 std::ptrdiff_t* met, double* to) {
    std::ptrdiff_t count = 0, first = tile.lead;
    for (std::ptrdiff_t g = 0; g < rows.groups; first += rows.levels[g++])
        if (tile.code(g)[r] < rows.levels[g]) met[count++] = first + tile.code(g)[r];
    for (std::ptrdiff_t p = 0; p < places; p += LANES) {
        Doubles whole = load(to + p);
        for (std::ptrdiff_t a = 0; a < count; ++a) {
            const double* row = triangles + met[a] * (met[a] + 1) / 2 * places + p;
            for (std::ptrdiff_t j = 0; j < tile.lead; ++j) whole += tile.column(j)[r] * load(row + j * places);
            for (std::ptrdiff_t b = 0; b <= a; ++b) whole += load(row + met[b] * places);
        }
        store(to + p, whole);
    }
}

void forms(const StoredRows& rows, std::ptrdiff_t places, const double* triangles, double* forms) {
    Tile tile(rows);
    const Scratch<std::ptrdiff_t> met(static_cast<std::size_t>(rows.groups));
    const Scratch<double> some(static_cast<std::size_t>(LANES * places));
    for (std::ptrdiff_t start = 0; start < rows.rows; start += tile.most) {
        tile.read(start);
        for (std::ptrdiff_t first = 0; first < tile.count; first += LANES) {
            dense_forms(tile, first, triangles, places, some);
            for (std::ptrdiff_t r = first; r < tile.count && r < first + LANES; ++r) {
                double* form = some + (r - first) * places;
                level_forms(tile, rows, r, triangles, places, met, form);
                std::memcpy(forms + (start + r) * places, form, static_cast<std::size_t>(places) * sizeof(double));
            }
        }
    }
}

}  // namespace

extern const ClassKernels class_kernels = {pass, forms};

}  // namespace KERNEL_LEVEL
