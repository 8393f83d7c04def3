#!/bin/bash
# Formats the C sources in place, or with --check says which differ. The style is what clang-format 14 makes of
# .clang-format: other versions differ in details, so only that one is taken.

cd "$(dirname "$0")/.." || exit 1

clang_format=$(command -v clang-format-14) || {
	echo "format: clang-format-14 is missing (tools/setup.sh test installs it)" >&2
	exit 3
}
mapfile -t files < <(find src tools -path tools/unit/build -prune -o -name '*.[ch]' -print | sort)

if [ "$1" = --check ]; then
	"$clang_format" --style=file --dry-run -Werror --ferror-limit=10 "${files[@]}"
else
	"$clang_format" --style=file -i "${files[@]}"
fi
