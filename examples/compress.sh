#!/bin/sh
# Compress each top-level module of Python's standard library, be killed half-way, and go on.
#
#     sh examples/compress.sh [FOLDER]
#
# 1. One job for each file: what `gzip -9` makes of it, in bytes. FOLDER/sizes keeps what each job
#    has written. When 40 of them are there this first run gets SIGKILL: no goodbye, no clean-up.
# 2. The same command once more, with --resume: what is there is left alone, the rest runs.
# 3. A sum over all that was kept, and the ten files that shrink most.
#
# The exit code is 0 if there is a figure for each file.
set -eu

folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
library=$(python3 -c 'import json; print(json.__file__.rpartition("/json/")[0])')
cd "$library"
find . -maxdepth 1 -name '*.py' -size +0 -print0 | sort -z > "$folder/files"
count=$(tr -dc '\0' < "$folder/files" | wc -c)

compress() {
    exec mesh run -0 --no-progress --joblog "$folder/log" --results "$folder/sizes" "$@" \
        'echo "$(wc -c < {}) $(gzip -9 -c {} | wc -c) {/}"' :::: "$folder/files"
}

echo "$count files in $library"
compress > "$folder/printed" &  # $! is mesh itself
until [ "$(wc -l < "$folder/log")" -gt 40 ] || ! kill -0 $!; do sleep 0.05; done 2> /dev/null
kill -9 $! 2> /dev/null || true
wait $! 2> /dev/null || true
echo "killed after $(find "$folder/sizes" -name exit | wc -l) of them"

(compress --resume) > "$folder/printed"
echo "ran $(wc -l < "$folder/printed") more"

find "$folder/sizes" -name stdout -exec cat {} + > "$folder/all"
sort -k2,2n "$folder/all" | awk '{ print $1 / $2, $3 }' | sort -rn | head
awk '{ from += $1; to += $2 } END { print NR " files, " from " bytes, " to " compressed" }' "$folder/all"
[ "$(wc -l < "$folder/all")" -eq "$count" ]
