// What the pages of Great Expectations need of Bootstrap's scripts: folding, and the filter of failed expectations.
(() => {
  document.querySelectorAll('[data-toggle="collapse"]').forEach((toggle) => {
    toggle.addEventListener("click", (event) => {
      event.preventDefault();
      const target = document.querySelector(toggle.getAttribute("href") || toggle.dataset.target);
      if (target) target.classList.toggle("show");
    });
  });
  const show = (failedOnly) => {
    document.querySelectorAll(".ge-section table.table > tbody > tr").forEach((row) => {
      const met = row.querySelector(":scope > td:first-child .fa-check-circle");
      row.hidden = failedOnly && Boolean(met);
    });
    document.querySelectorAll(".btn-group-toggle .btn").forEach((button, place) => {
      button.classList.toggle("active", (place === 1) === failedOnly);
    });
  };
  window.showAllValidations = () => show(false);
  window.hideSucceededValidations = () => show(true);
})();
