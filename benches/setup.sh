# What the benches have in common; they read it from the project's folder.

# The program: KASMFORGE, else a release build (made if absent).
kasmforge=${KASMFORGE:-target/release/kasmforge}
[ -x "$kasmforge" ] || cargo build --release --quiet
kasmforge=$(realpath "$kasmforge")

# Sets `mirror` and `security`, the archives all sides take packages from: of KASMFORGE_MIRROR, else of the
# first of the host's apt sources.
find_mirror() {
    mirror=${KASMFORGE_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' |
        awk '$2 == "main" && /\/debian\// {print $1; exit}')}
    [ -n "$mirror" ] || { echo "no mirror: set KASMFORGE_MIRROR" >&2; exit 2; }
    security=${mirror%/}-security
}

# Waits before what takes long: ext4 passes over the inodes that were freed in the last minute, one by one,
# for each new file, and what ran before may have removed some ten thousand.
settle() {
    sync
    sleep "${SETTLE:-65}"
}

# middle FILE: of a file's lines the middle one by the number each begins with; the smaller, if they are even.
middle() { sort -n "$1" | sed -n "$((($(wc -l <"$1") + 1) / 2))p"; }
