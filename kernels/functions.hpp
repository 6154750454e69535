// Elementary functions of arrays, for the tests of their errors.
#pragma once

#include <cstddef>

#include "levels.hpp"

struct Functions {
    void (*exponential)(const double* x, double* result, std::size_t count);
    void (*logarithm)(const double* x, double* result, std::size_t count);
    void (*logarithm_of_one_and)(const double* x, double* result, std::size_t count);
    void (*exponential_less_its_start)(const double* x, double* result, std::size_t count);
};

DECLARE_TABLE(Functions, functions)
