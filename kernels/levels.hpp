// Instruction sets, and which of them serves.
//
// A file of kernels is compiled once for each level, with KERNEL_LEVEL as the name of its namespace, and ends in one
// constant table of function pointers. Rules for such a file: nothing but that table is visible outside of it (all
// else stands in an unnamed namespace), and no container or algorithm of the standard library is used, of whose
// inline functions the linker would keep one copy, perhaps of an instruction set that is not there.
#pragma once

// To be used in a header, with the type of the table and its name.
#define DECLARE_TABLE(type, table)                                                                                     \
    namespace v2 { extern const type table; }                                                                          \
    namespace v3 { extern const type table; }                                                                          \
    namespace v4 { extern const type table; }                                                                          \
    namespace plain { extern const type table; }

// The level that serves, from 2 to 4; 0 where there are none.
int serving_level();

#if defined(__x86_64__)
#define SERVING(table) (serving_level() == 4 ? v4::table : serving_level() == 3 ? v3::table : v2::table)
#else
#define SERVING(table) (plain::table)
#endif
