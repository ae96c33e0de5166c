# Writes the bytes of INPUT as a list of C integers to OUTPUT.
file(READ ${INPUT} _bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" _bytes "${_bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," _bytes "${_bytes}")
file(WRITE ${OUTPUT} "${_bytes}\n")
