//! `kasmforge push`

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use kasmforge_build::{Built, Compression, Stored};
use kasmforge_distribution::{Fate, Logins, Order, Pushed, Registry, Settings};
use kasmforge_image::Reference;
use serde_json::{Value, json};

use super::{Context, engine};
use crate::cli::OutputCompression;
use crate::printer::{Printer, bytes};
use crate::progress::Progress;
use crate::pushing::{Layers, Places};
use crate::settings;

/// Where Docker has folders with certificates for registries.
const CERTIFICATES: &str = "/etc/docker/certs.d";

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The workspace [default: the one built last].
    workspace: Option<String>,
    /// What the image is called there, as registry.example.org/team/desktop:1; without a tag, it has
    /// those of the definition [default: the definition's repository and tags].
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// How its layers are compressed.
    #[arg(long, value_name = "HOW", default_value = "gzip")]
    compression: OutputCompression,
    /// Gives it no tag: it is there by its digest alone.
    #[arg(long)]
    by_digest: bool,
    /// Only tells what is missing there, and how many bytes that is.
    #[arg(long)]
    dry_run: bool,
    /// How many layers are on their way at once, at most.
    #[arg(long, value_name = "COUNT", default_value = "4",
          value_parser = clap::value_parser!(u8).range(1..=32))]
    at_once: u8,
    /// Speaks with the registry without TLS, as it always may with one of this machine.
    #[arg(long)]
    plain_http: bool,
    /// Also trusts these certificates.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Logs in as this user [default: as `docker login` or `podman login` did].
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Reads the password from the standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
}

/// Gives the image that was built last to registries.
pub(crate) fn run(wanted: &Push, context: &Context, printer: &Printer) -> anyhow::Result<()> {
    let started = Instant::now();
    let (named, references) = split(wanted);
    let name = engine::workspace(named.as_ref(), context)?;
    let built = engine::built(&name, context)?;
    let places = places(&references, &built)?;
    let settings = settings(wanted, context)?;
    let compression = match wanted.compression {
        OutputCompression::None => Compression::None,
        OutputCompression::Gzip => Compression::Gzip,
        OutputCompression::Zstd => Compression::Zstd,
    };
    let stored = Stored::new(&context.store, &built, compression)?;
    let mut done = Vec::new();
    for place in &places {
        let started = Instant::now();
        let progress = Progress::new(printer);
        let registry = Registry::connect(&place.registry, &settings)?;
        let order = Order {
            tags: if wanted.by_digest { &[] } else { &place.tags },
            at_once: settings.at_once,
            dry: wanted.dry_run,
        };
        let pushed = kasmforge_distribution::push(
            &registry.repository(&place.repository),
            &Layers::new(&stored, &built, &progress),
            &order,
            &Places(&context.store),
            &progress,
        )?;
        progress.end();
        let one = Done {
            place,
            pushed,
            seconds: started.elapsed().as_secs_f64(),
        };
        printer.say(&one.told(wanted));
        done.push(one);
    }
    let lines: Vec<String> = done.iter().map(Done::reference).collect();
    let json = json!({
        "workspace": built.workspace,
        "architecture": built.architecture,
        "image_id": built.config,
        "compression": compression,
        "compressor": stored.compressor(),
        "dry_run": wanted.dry_run,
        "pushed": done.iter().map(|one| one.json(wanted, &built)).collect::<Vec<_>>(),
        "seconds": started.elapsed().as_secs_f64(),
    });
    Ok(printer.result(&lines.join("\n"), &json)?)
}

/// The workspace and the references: the first word is a reference if it can be no workspace.
fn split(wanted: &Push) -> (Option<String>, Vec<String>) {
    let mut references = wanted.references.clone();
    match &wanted.workspace {
        Some(first) if first.contains(['/', ':']) => {
            references.insert(0, first.clone());
            (None, references)
        }
        named => (named.clone(), references),
    }
}

/// A repository that is to have the image.
struct Place {
    registry: String,
    repository: String,
    tags: Vec<String>,
}

/// Where the image goes: each repository once, with all its tags.
fn places(references: &[String], built: &Built) -> anyhow::Result<Vec<Place>> {
    let own: Vec<Reference> = built
        .references
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()?;
    let mut wanted = Vec::new();
    for text in references {
        let reference: Reference = text.parse()?;
        if Reference::names_a_tag(text) {
            wanted.push((reference.clone(), reference.tag().to_owned()));
        } else {
            let tags = own
                .iter()
                .map(|own| (reference.clone(), own.tag().to_owned()));
            wanted.extend(tags);
        }
    }
    if references.is_empty() {
        let tags = own.into_iter().map(|own| {
            let tag = own.tag().to_owned();
            (own, tag)
        });
        wanted.extend(tags);
    }
    let mut places: Vec<Place> = Vec::new();
    for (reference, tag) in wanted {
        let (registry, repository) = (reference.registry().to_owned(), reference.repository());
        let there = places
            .iter_mut()
            .find(|place| (&place.registry, &place.repository) == (&registry, &repository));
        match there {
            Some(place) if place.tags.contains(&tag) => {}
            Some(place) => place.tags.push(tag),
            None => places.push(Place {
                registry,
                repository,
                tags: vec![tag],
            }),
        }
    }
    Ok(places)
}

fn settings(wanted: &Push, context: &Context) -> anyhow::Result<Settings> {
    let logins = match &wanted.username {
        Some(user) => {
            let mut password = String::new();
            std::io::stdin()
                .read_to_string(&mut password)
                .context("cannot read the password from the standard input")?;
            let password = password.trim_end_matches(['\n', '\r']);
            anyhow::ensure!(
                !password.is_empty(),
                "there is no password on the standard input"
            );
            Logins::none().with(user, password)
        }
        None => Logins::read(&settings::login_files())?,
    };
    Ok(Settings {
        plain_http: wanted.plain_http,
        route: context.settings.route.clone(),
        authorities: wanted.ca_file.iter().cloned().collect(),
        certificates_by_host: Some(CERTIFICATES.into()),
        logins,
        at_once: usize::from(wanted.at_once),
    })
}

/// What became of one repository.
struct Done<'a> {
    place: &'a Place,
    pushed: Pushed,
    seconds: f64,
}

impl Done<'_> {
    fn name(&self) -> String {
        format!("{}/{}", self.place.registry, self.place.repository)
    }

    /// The name that means this very image, for as long as the registry has it.
    fn reference(&self) -> String {
        format!("{}@{}", self.name(), self.pushed.digest)
    }

    fn count(&self, is: impl Fn(&Fate) -> bool) -> usize {
        let layers = self.pushed.layers.iter();
        layers.filter(|layer| is(&layer.fate)).count()
    }

    /// The configuration counts with the layers.
    fn bytes(&self, of: impl Fn(&Fate, u64) -> u64) -> u64 {
        let blobs = self.pushed.layers.iter().chain([&self.pushed.config]);
        blobs.map(|one| of(&one.fate, one.blob.size)).sum()
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes(|fate, _| match fate {
            Fate::Sent { bytes } => *bytes,
            _ => 0,
        })
    }

    fn bytes_missing(&self) -> u64 {
        self.bytes(|fate, size| if *fate == Fate::Missing { size } else { 0 })
    }

    /// In words.
    fn told(&self, wanted: &Push) -> String {
        let tags = if wanted.by_digest {
            ""
        } else {
            &self.place.tags.join(",")
        };
        let joint = if tags.is_empty() { "" } else { ":" };
        let name = format!("{}{joint}{tags}", self.name());
        let total = self.pushed.layers.len();
        if self.pushed.already_there {
            let tagged = match (self.pushed.tagged.as_slice(), wanted.dry_run) {
                ([], _) => String::new(),
                (tags, true) => format!(", {} would mean it", tags.join(", ")),
                (tags, false) => format!(", {} means it now", tags.join(", ")),
            };
            return format!("{name}  is there already{tagged}  0 B sent");
        }
        if wanted.dry_run {
            return format!(
                "{name}  {} of {total} layers are missing, {} would be sent",
                self.count(|fate| *fate == Fate::Missing),
                bytes(self.bytes_missing()),
            );
        }
        let mounted = match self.count(|fate| matches!(fate, Fate::Mounted { .. })) {
            0 => String::new(),
            count => format!(", {count} taken over from another repository"),
        };
        format!(
            "{name}  {} of {total} layers sent{mounted}, {}  {:.1} s",
            self.count(|fate| matches!(fate, Fate::Sent { .. })),
            bytes(self.bytes_sent()),
            self.seconds
        )
    }

    /// For machines.
    fn json(&self, wanted: &Push, built: &Built) -> Value {
        let layers = self.pushed.layers.iter().zip(&built.layers);
        let layers: Vec<Value> = layers
            .map(|(layer, made)| {
                let (fate, from, sent) = match &layer.fate {
                    Fate::There => ("there", None, 0),
                    Fate::Mounted { from } => ("mounted", Some(from), 0),
                    Fate::Sent { bytes } => ("sent", None, *bytes),
                    Fate::Missing => ("missing", None, 0),
                };
                json!({
                    "diff_id": made.diff_id,
                    "digest": layer.blob.digest,
                    "size": layer.blob.size,
                    "fate": fate,
                    "from": from,
                    "bytes_sent": sent,
                })
            })
            .collect();
        json!({
            "registry": self.place.registry,
            "repository": self.place.repository,
            "reference": self.reference(),
            "digest": self.pushed.digest,
            "tags": if wanted.by_digest { &[] } else { self.place.tags.as_slice() },
            "tagged": self.pushed.tagged,
            "already_there": self.pushed.already_there,
            "layers_total": self.pushed.layers.len(),
            "layers_sent": self.count(|fate| matches!(fate, Fate::Sent { .. })),
            "layers_mounted": self.count(|fate| matches!(fate, Fate::Mounted { .. })),
            "layers_missing": self.count(|fate| *fate == Fate::Missing),
            "bytes_sent": self.bytes_sent(),
            "bytes_missing": self.bytes_missing(),
            "layers": layers,
            "seconds": self.seconds,
        })
    }
}
