// What the page does by itself: the keyboard comes back after a dialog, and what is not saved is not left unasked.
(() => {
  let last = null;  // what had the keyboard outside the dialogs
  document.addEventListener('focusin', ({ target }) => {
    if (!target.closest('.v-overlay')) last = target;
  });
  window.addEventListener('beforeunload', (event) => {
    // A page that lost its program has nothing left to save.
    if (window.trame.state.get('unsaved') && document.getElementById('steps')) event.preventDefault();
  });
  window.trame.utils.cnsifusion = { giveKeyboardBack: () => last?.focus({ preventScroll: true }) };
})();
