// Two buttons for noVNC's bar: files, and sound. The server says which of them there is anything for.

const bar = document.querySelector("#noVNC_control_bar .noVNC_scroll");
// An address may have brought name and password; browsers fetch nothing relative to one that has.
const here = (path) => new URL(path, location.origin + location.pathname).href;
const get = async () => (await fetch(here("kasmforge/files.json"))).json();

function button(name, title, press) {
  const input = document.createElement("input");
  Object.assign(input, { type: "image", alt: title, title, src: `kasmforge/${name}.svg`, className: "noVNC_button", id: `kasmforge_${name}` });
  input.addEventListener("click", () => press(input));
  bar.append(input);
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

const panel = document.createElement("div");
panel.id = "kasmforge_files_panel";
panel.hidden = true;
panel.style = "position:fixed;right:1em;top:1em;width:22em;max-height:80%;overflow:auto;z-index:90;padding:1em;border-radius:8px;background:#1b2333;color:#dce3ec;font:14px sans-serif;box-shadow:0 2px 12px #0008";

async function show() {
  const { downloads, uploads } = await get();
  panel.replaceChildren();
  const say = (text) => panel.append(Object.assign(document.createElement("p"), { textContent: text }));
  if (uploads) {
    say("To the desktop (~/Uploads):");
    const input = Object.assign(document.createElement("input"), { type: "file", multiple: true });
    const told = document.createElement("p");
    input.addEventListener("change", async () => {
      for (const file of input.files) {
        told.textContent = `sending ${file.name}`;
        const answer = await fetch(here(`Uploads/${encodeURIComponent(file.name)}`), { method: "PUT", body: file });
        told.textContent = answer.ok ? `${(await answer.json()).name} is there` : `${file.name}: ${answer.statusText}`;
      }
    });
    panel.append(input, told);
  }
  if (downloads) {
    say(downloads.length ? "From the desktop (~/Downloads):" : "Nothing is in ~/Downloads.");
    for (const { name, size: bytes } of downloads) {
      const link = Object.assign(document.createElement("a"), { href: here(`Downloads/${encodeURIComponent(name)}`), download: name, textContent: `${name} (${size(bytes)})` });
      link.style = "display:block;color:#85c1f5;padding:2px 0";
      panel.append(link);
    }
  }
}

// The desktop is not to be covered by an error only because there are no buttons.
const { downloads, uploads, sound } = await get().catch(() => ({}));
if (bar && (downloads || uploads)) {
  document.body.append(panel);
  button("files", "Files", () => {
    panel.hidden = !panel.hidden;
    if (!panel.hidden) show();
  });
}
if (bar && sound) {
  let player;
  button("sound", "Sound", (input) => {
    if (player) {
      player.removeAttribute("src");
      player.load();
      player = undefined;
    } else {
      player = new Audio(here("kasmforge/sound.ogg"));
      player.play();
    }
    input.classList.toggle("noVNC_selected", !!player);
  });
}
