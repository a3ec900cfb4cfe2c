#!/usr/bin/env bash
# The flake parses and evaluates: every package and shell, for every system, with all it names.
#
# Needs nix 2.8 or newer (Debian: nix-bin) and no network: nixpkgs is replaced by a stand-in that has
# exactly the packages named below. Nothing is built. Without nix it ends with status 77: skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v nix >/dev/null || { echo "skipped: there is no nix (apt-get install nix-bin)" >&2; exit 77; }

work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
mkdir "$work/project" "$work/nixpkgs" "$work/home"
# A copy, because a flake in a git tree sees only files that git tracks.
cp flake.nix Cargo.toml Cargo.lock "$work/project/"
cat >"$work/nixpkgs/flake.nix" <<'NIX'
{
  outputs = _:
    let
      derivation' = system: name: builtins.derivation { inherit name system; builder = "/bin/sh"; };
      table = names: value: builtins.listToAttrs (map (name: { inherit name; value = value name; }) names);
      packages = system: table [
        "cargo" "cargo-deny" "cargo-nextest" "clippy" "perl" "pkg-config" "rust-analyzer" "rustc"
        "rustfmt" "skopeo" "umoci" "xc"
      ] (derivation' system) // {
        # What a real one reads of the lock, and what it needs of its inputs.
        rustPlatform.buildRustPackage = given:
          let lock = builtins.fromTOML (builtins.readFile given.cargoLock.lockFile);
          in builtins.deepSeq [ lock (map (input: input.drvPath) given.nativeBuildInputs) ]
            (derivation' system "${given.pname}-${given.version}");
        mkShell = given: builtins.deepSeq (map (input: input.drvPath) given.packages)
          (derivation' system "shell");
      };
    in {
      lib.genAttrs = table;
      legacyPackages = table [ "x86_64-linux" "aarch64-linux" ] packages;
    };
}
NIX

export HOME=$work/home
export NIX_CONFIG="experimental-features = nix-command flakes
build-users-group =
substitute = false"
evaluate() {
    nix --offline --store "$work/store" eval --raw --no-write-lock-file \
        --override-input nixpkgs "path:$work/nixpkgs" "path:$work/project#$1" 2>"$work/said" ||
        { cat "$work/said" >&2; exit 1; }
}

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
for system in x86_64-linux aarch64-linux; do
    name=$(evaluate "packages.$system.default.name")
    [ "$name" = "kasmforge-$version" ] || { echo "$system: the package is called $name" >&2; exit 1; }
    evaluate "packages.$system.default.drvPath" >/dev/null
    evaluate "devShells.$system.default.drvPath" >/dev/null
done
echo "the flake evaluates for x86_64-linux and aarch64-linux"
