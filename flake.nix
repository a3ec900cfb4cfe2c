{
  description = "Builds container desktops the way Nix builds packages";

  # Rust 1.90 or newer is needed.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAll = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      manifest = builtins.fromTOML (builtins.readFile ./Cargo.toml);
    in
    {
      packages = forAll (pkgs: rec {
        default = kasmforge;
        kasmforge = pkgs.rustPlatform.buildRustPackage {
          pname = manifest.package.name;
          version = manifest.workspace.package.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          nativeBuildInputs = [
            pkgs.pkg-config
            pkgs.perl
          ];
          # Only the program: tests want namespaces, an engine and a mirror, which no build of Nix has.
          cargoBuildFlags = [
            "--package"
            "kasmforge"
          ];
          doCheck = false;
          meta = {
            description = manifest.package.description;
            mainProgram = "kasmforge";
            platforms = systems;
          };
        };
      });

      devShells = forAll (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.cargo
            pkgs.rustc
            pkgs.clippy
            pkgs.rustfmt
            pkgs.rust-analyzer
            pkgs.cargo-nextest
            pkgs.cargo-deny
            pkgs.pkg-config
            pkgs.perl
            pkgs.skopeo
            pkgs.umoci
            pkgs.xc
          ];
        };
      });
    };
}
