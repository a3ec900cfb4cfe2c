#!/usr/bin/env bash
# The long proofs, each with a name: `tests/nightly.sh [NAME…]` runs those named, or all.
set -euo pipefail
cd "$(dirname "$0")/.."

# Two hundred thousand mutations for each fuzz target, from another seed each day.
fuzz() {
    KASMFORGE_FUZZ_RUNS=200000 KASMFORGE_FUZZ_SEED="$(date +%Y%m%d)" \
        cargo test --release --test fuzz
}

all=(fuzz)
for name in "${@:-${all[@]}}"; do
    case " ${all[*]} " in
        *" $name "*) printf '== %s\n' "$name"; "$name" ;;
        *) printf 'nightly.sh: no proof is called %s; there are: %s\n' "$name" "${all[*]}" >&2; exit 2 ;;
    esac
done
