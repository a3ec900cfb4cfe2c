//! A real browser: headless Chromium through chromedriver, spoken to in WebDriver
//! (the W3C's recommendation), with no more of it than a desktop's test needs.

#![allow(dead_code, reason = "no test uses all of it")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A browser with one window. Ends when dropped.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

/// What the desktop's picture is like, told by the page itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    /// Different colours among some thousands of points.
    pub(crate) colours: u64,
    /// How much of the lowest band, where the panel is, has its commonest colour, in hundredths.
    pub(crate) panel: u64,
    /// The same of the band above the panel.
    pub(crate) above: u64,
    /// A sum over the middle of the picture.
    pub(crate) middle: u64,
}

impl Browser {
    /// Starts Chromium.
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let (driver, port) = driver();
        let base = format!("http://127.0.0.1:{port}/session");
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "binary": "/usr/bin/chromium", "args": arguments },
        } } });
        let deadline = Instant::now() + Duration::from_secs(60);
        let made = loop {
            match post(&base, &wanted) {
                Ok(made) => break made,
                Err(error) => assert!(Instant::now() < deadline, "chromedriver: {error}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        let session = made["sessionId"].as_str().expect("a session").to_owned();
        Self {
            driver,
            session: format!("{base}/{session}"),
            _profile: profile,
        }
    }

    /// Opens an address, again while the machine's networks change: Chromium drops what it is asking then,
    /// and other tests' containers come and go.
    pub(crate) fn visit(&self, url: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let asked = post(&format!("{}/url", self.session), &json!({ "url": url }));
            if asked.is_ok() && !self.is_cut_off() {
                return;
            }
            assert!(Instant::now() < deadline, "{url} opens: {asked:?}");
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Whether Chromium shows a page of its own that says why there is none.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.script("return location.protocol") == json!("chrome-error:")
    }

    /// Shows pages as a screen of this width and height does, dark or light.
    pub(crate) fn screen(&self, width: u32, height: u32, dark: bool) {
        let tell = |command: &str, parameters: Value| {
            let body = json!({ "cmd": command, "params": parameters });
            post(&format!("{}/goog/cdp/execute", self.session), &body).expect("Chromium does it");
        };
        tell(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 }),
        );
        let scheme = if dark { "dark" } else { "light" };
        tell(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
    }

    /// Opens an address and waits until noVNC says that it is connected.
    pub(crate) fn open(&self, url: &str) {
        self.visit(url);
        self.until("noVNC connects", |browser| {
            // It is sent on to another page, which may be cut off, too.
            if browser.is_cut_off() {
                browser.visit(url);
            }
            let script = "return document.documentElement.classList.contains('noVNC_connected')";
            browser.script(script) == json!(true)
        });
    }

    /// Waits for something to come true.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !holds(self) {
            if Instant::now() >= deadline {
                let page = "return [location.href, document.documentElement.className, \
                            document.body.innerText.slice(0, 500)]";
                panic!("in vain: {what}; the page: {}", self.script(page));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// What the desktop looks like now; `None` while there is no picture.
    pub(crate) fn picture(&self) -> Option<Picture> {
        let value = self.script(
            "const canvas = document.querySelector('#noVNC_container canvas');
             if (!canvas || canvas.width < 300) return null;
             const [w, h] = [canvas.width, canvas.height];
             const data = canvas.getContext('2d').getImageData(0, 0, w, h).data;
             const at = (x, y) => { const i = (y * w + x) * 4; return [data[i], data[i+1], data[i+2]]; };
             const colours = new Set();
             for (let y = 0; y < h; y += 7) for (let x = 0; x < w; x += 7) colours.add(at(x, y).join());
             const band = (from, to) => {
               const seen = new Map(); let n = 0;
               for (let y = from; y < to; y += 2) for (let x = 0; x < w; x += 3) {
                 const c = at(x, y).join(); n += 1;
                 seen.set(c, (seen.get(c) || 0) + 1);
               }
               return Math.round(100 * Math.max(...seen.values()) / n);
             };
             const low = band(h - 34, h - 2), above = band(h - 76, h - 42);
             let middle = 0;
             for (let y = h >> 2; y < 3 * h >> 2; y += 5) for (let x = w >> 2; x < 3 * w >> 2; x += 5) {
               const c = at(x, y); middle = (middle * 31 + c[0] * 7 + c[1] * 3 + c[2]) % 1000000007;
             }
             return [colours.size, low, above, middle];",
        );
        let number = |index: usize| value[index].as_i64();
        Some(Picture {
            colours: number(0)?.unsigned_abs(),
            panel: number(1)?.unsigned_abs(),
            above: number(2)?.unsigned_abs(),
            middle: number(3)?.unsigned_abs(),
        })
    }

    /// Presses keys together and lets them go: WebDriver's names, `\u{e009}` is Control.
    pub(crate) fn press(&self, keys: &[&str]) {
        let mut actions: Vec<Value> = keys
            .iter()
            .map(|key| json!({ "type": "keyDown", "value": key }))
            .collect();
        actions.extend(
            keys.iter()
                .rev()
                .map(|key| json!({ "type": "keyUp", "value": key })),
        );
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        post(&format!("{}/actions", self.session), &body).expect("keys can be pressed");
    }

    /// Clicks into the middle of the desktop's picture; where that is on the desktop's screen. `None`
    /// while there is no picture.
    pub(crate) fn click_middle(&self) -> Option<(i64, i64)> {
        let value = self.script(
            "const canvas = document.querySelector('#noVNC_container canvas');
             if (!canvas || canvas.width < 300) return null;
             const box = canvas.getBoundingClientRect();
             return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2),
                     Math.round(canvas.width / 2), Math.round(canvas.height / 2)];",
        );
        let at = |index: usize| value[index].as_i64();
        let to = json!({ "type": "pointerMove", "duration": 0, "origin": "viewport",
                         "x": at(0)?, "y": at(1)? });
        let press = |kind: &str| json!({ "type": kind, "button": 0 });
        let actions = json!([to, press("pointerDown"), press("pointerUp")]);
        let body = json!({ "actions": [{ "type": "pointer", "id": "mouse", "actions": actions }] });
        post(&format!("{}/actions", self.session), &body).expect("one can click");
        Some((at(2)?, at(3)?))
    }

    /// Keeps what the window shows.
    pub(crate) fn keep(&self, path: &Path) {
        let answer = ureq::get(format!("{}/screenshot", self.session)).call();
        let text = answer
            .and_then(|mut answer| {
                answer
                    .body_mut()
                    .with_config()
                    .limit(64 << 20)
                    .read_to_string()
            })
            .expect("a screenshot");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let decoded = base64(value["value"].as_str().expect("a picture"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, decoded).expect("written");
    }

    /// What a function's body returns, run in the page; null if it fails.
    pub(crate) fn script(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        post(&format!("{}/execute/sync", self.session), &body).unwrap_or(Value::Null)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = ureq::delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Starts chromedriver, which chooses a port and tells it: one chosen for it may be taken meanwhile.
fn driver() -> (Child, u16) {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver runs: apt-get install chromium chromium-driver");
    let said = driver.stdout.take().expect("its output is a pipe");
    let mut lines = BufReader::new(said).lines().map_while(Result::ok);
    let mut told = Vec::new();
    let port = lines.find_map(|line| {
        let port = line.split_once("started successfully on port ");
        let port = port.and_then(|(_, port)| port.trim_end_matches('.').parse().ok());
        told.push(line);
        port
    });
    // What it says later is of no interest, and must not hold it up.
    std::thread::spawn(move || lines.for_each(drop));
    match port {
        Some(port) => (driver, port),
        None => panic!("chromedriver did not start: {told:?}"),
    }
}

fn post(url: &str, body: &Value) -> Result<Value, ureq::Error> {
    let mut answer = ureq::post(url)
        .header("Content-Type", "application/json")
        .send(body.to_string())?;
    let text = answer.body_mut().read_to_string()?;
    let value: Value = serde_json::from_str(&text).expect("WebDriver answers in JSON");
    Ok(value["value"].clone())
}

/// RFC 4648, without what a PNG of chromedriver never has.
fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for character in text.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}
