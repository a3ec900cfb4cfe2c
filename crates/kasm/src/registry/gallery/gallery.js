'use strict';
(() => {
  const byId = (id) => document.getElementById(id);
  const counted = (shown, all, one, many) =>
    shown === all ? `${all} ${all === 1 ? one : many}` : `${shown} of ${all} ${all === 1 ? one : many}`;
  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

  // The gallery: what is asked for stands in the address, so that it can be handed on.
  const filters = byId('filters');
  if (filters) {
    const cards = [...byId('cards').children];
    const values = (card, key) => card.dataset[key].split('\n');
    const wanted = () => {
      const data = new FormData(filters);
      return ['q', 'category', 'architecture'].map((key) => (data.get(key) || '').trim());
    };
    const show = () => {
      const [query, category, architecture] = wanted();
      const asked = words(query);
      let shown = 0;
      for (const card of cards) {
        const fits = asked.every((word) => card.dataset.text.includes(word))
          && (!category || values(card, 'categories').includes(category))
          && (!architecture || values(card, 'architectures').includes(architecture));
        card.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      byId('count').textContent = counted(shown, cards.length, 'workspace', 'workspaces');
      byId('nothing').hidden = shown > 0;
    };
    const keep = () => {
      const [q, category, architecture] = wanted();
      const state = new URLSearchParams();
      for (const [key, value] of Object.entries({ q, category, architecture })) {
        if (value) state.set(key, value);
      }
      const text = state.toString();
      history.replaceState(null, '', text ? `#${text}` : location.pathname + location.search);
    };
    const recall = () => {
      const state = new URLSearchParams(location.hash.slice(1));
      for (const field of filters.elements) {
        if (!field.name) continue;
        const value = state.get(field.name) || '';
        if (field.type === 'radio') field.checked = field.value === value;
        else field.value = value;
      }
      show();
    };
    filters.hidden = false;
    filters.addEventListener('input', () => { show(); keep(); });
    filters.addEventListener('submit', (event) => event.preventDefault());
    byId('reset').addEventListener('click', () => {
      history.replaceState(null, '', location.pathname + location.search);
      recall();
      byId('query').focus();
    });
    addEventListener('hashchange', recall);
    recall();
  }

  // A workspace's packages.
  const finder = byId('package-filter');
  if (finder) {
    const rows = [...byId('package-rows').children];
    const find = () => {
      const asked = words(byId('package-query').value);
      let shown = 0;
      for (const row of rows) {
        row.hidden = !asked.every((word) => row.textContent.toLowerCase().includes(word));
        shown += row.hidden ? 0 : 1;
      }
      byId('package-count').textContent = counted(shown, rows.length, 'package', 'packages');
    };
    finder.hidden = false;
    byId('package-query').addEventListener('input', find);
    find();
  }

  for (const button of document.querySelectorAll('[data-copy]')) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener('click', async () => {
      const before = 'Copy';
      try {
        await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
        button.textContent = 'Copied';
      } catch {
        button.textContent = 'Not allowed';
      }
      const told = byId('copied');
      if (told) told.textContent = button.textContent;
      setTimeout(() => { button.textContent = before; }, 2000);
    });
  }
})();
