# Turns the schema's SQL files into a C file of byte arrays.
# SPDX-License-Identifier: BSD-2-Clause
# cmake -DOUT=schema_text.c -DIN=policy.sql -DNAME=schema_policy_sql -P embed.cmake
file(READ "${IN}" hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "((0x..,){16})" "\\1\n    " bytes "${bytes}")
get_filename_component(file_name "${IN}" NAME)
file(WRITE "${OUT}" "/* ${file_name} as bytes, made by embed.cmake. */\n"
    "/* SPDX-License-Identifier: BSD-2-Clause */\n"
    "extern const char ${NAME}[];\n"
    "const char ${NAME}[] = {\n    ${bytes}0x00};\n")
