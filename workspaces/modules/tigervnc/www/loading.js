// noVNC is some forty files. If one of them does not come, because the network changed or the server was
// busy, noVNC waits for ever; here the page is loaded again, less and less often.

(() => {
  const kept = "kasmforge_loads";
  const loading = () => document.documentElement.classList.contains("noVNC_loading");
  let asked = false;
  const again = () => {
    const loads = Number(sessionStorage.getItem(kept));
    if (asked || loads > 20) return;
    asked = true;
    sessionStorage.setItem(kept, loads + 1);
    setTimeout(() => location.reload(), Math.min(500 * 2 ** loads, 30000));
  };
  // Errors of elements do not bubble, but they can be caught on their way down.
  addEventListener("error", ({ target }) => {
    if (target instanceof HTMLScriptElement || target.rel === "stylesheet") again();
  }, true);
  // After this nothing more comes; what noVNC still does before it shows itself takes a moment.
  addEventListener("load", () => {
    setTimeout(() => (loading() ? again() : asked || sessionStorage.removeItem(kept)), 20000);
  });
})();
