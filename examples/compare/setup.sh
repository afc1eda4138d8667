# What every script here begins with: an interpreter, a folder for data that is gone at the end, our program, and a run of it.
export PYTHONDONTWRITEBYTECODE=1
python=${PYTHON:-python3}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT

cargo build --release --quiet --manifest-path "$root/Cargo.toml" -p bench
bench=$(cd "${CARGO_TARGET_DIR:-$root/target}/release" && pwd)/bench

# ours JOB [NAME]: runs a job on the data and adds a line of figures, under the name of `mlops` or NAME.
ours() {
    "$bench" "$1" --data "$data" --json | sed "s/^{/{\"peer\":\"${2:-mlops}\",/" >>"$data/lines"
}
