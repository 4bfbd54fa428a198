// What the page does by itself: keys go where the mouse is and come back after a dialog, what is not saved is not left
// unasked, and a quick stroke keeps its corners.
(() => {
  let last = null;  // what had the keyboard outside the dialogs
  document.addEventListener('focusin', ({ target }) => {
    if (!target.closest('.v-overlay')) last = target;
  });
  document.addEventListener('mouseover', ({ target }) => {
    // The keys of the tools, as in Slicer; not from under who types.
    const view = target.closest('.remote-controlled-area');
    if (view && !document.activeElement.matches('input, select, .v-overlay *')) view.focus({ preventScroll: true });
  });
  window.trame.utils.cnsifusion = { giveKeyboardBack: () => last?.focus({ preventScroll: true }) };

  window.addEventListener('beforeunload', (event) => {
    // A page that lost its program has nothing left to save.
    if (window.trame.state.get('unsaved') && document.getElementById('steps')) event.preventDefault();
  });

  // Of what the mouse does before the program has answered, trame sends only where it is last, and of what it does while
  // a picture is drawn the browser tells only that. So the way of a stroke goes as a "key" of the view: these are sent
  // one by one, in their order with the button's events.
  const APART = 3;  // a mouse may report every pixel: less than this says nothing new
  const EVERY = 15;  // milliseconds
  let view = null, way = [], end = [], sent = 0;
  const send = () => {
    if (way.length) view.dispatchEvent(new KeyboardEvent('keydown', { key: `way ${JSON.stringify(way)}` }));
    way = [];
    sent = performance.now();
  };
  const add = ({ clientX, clientY }) => {
    const box = view.getBoundingClientRect(), here = [clientX - box.left, box.bottom - clientY];
    if (Math.hypot(here[0] - end[0], here[1] - end[1]) >= APART) way.push(end = here);
  };
  document.addEventListener('pointerdown', (event) => {
    const left = event.buttons === 1 && event.pointerType === 'mouse';
    const alone = left && !(event.shiftKey || event.ctrlKey || event.altKey);
    view = alone ? event.target.closest('.remote-controlled-area') : null;
    [way, end] = [[], [-APART, -APART]];
  }, true);
  document.addEventListener('pointermove', (event) => {
    if (!view || event.buttons !== 1) return;
    event.stopPropagation();
    (event.getCoalescedEvents?.() ?? [event]).forEach(add);
    if (performance.now() - sent >= EVERY) send();
  }, true);
  document.addEventListener('pointerup', () => {
    if (view) send();
    view = null;
  }, true);
})();
