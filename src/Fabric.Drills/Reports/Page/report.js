'use strict';
(() => {
  const tip = document.getElementById('tip');
  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(x + 14, innerWidth - box.width - 8)) + 'px';
    tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18) + 'px';
  };
  for (const drawing of document.querySelectorAll('svg.timeline')) {
    const cursor = drawing.querySelector('.cursor');
    drawing.addEventListener('pointermove', e => {
      const of = e.target.closest('[data-tip]');
      if (cursor) {
        const x = (e.clientX - drawing.getBoundingClientRect().left) * drawing.viewBox.baseVal.width / drawing.clientWidth;
        const inside = x >= +drawing.dataset.left && x <= +drawing.dataset.right;
        cursor.setAttribute('x1', inside ? x : -9);
        cursor.setAttribute('x2', inside ? x : -9);
      }
      if (of) show(of.dataset.tip, e.clientX, e.clientY); else tip.hidden = true;
    });
    drawing.addEventListener('pointerleave', () => {
      tip.hidden = true;
      cursor?.setAttribute('x1', -9);
      cursor?.setAttribute('x2', -9);
    });
  }
})();
