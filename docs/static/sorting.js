/* Tables inside of .sorted: a head sorts its column, a field and a few lists say which rows are shown. */
const MOST = 12; // a column with more than so many different items has no list

const items = (cell) => cell.textContent.trim().split(/,\s*/).filter(Boolean);

function sortBy(table, column, head) {
  const upwards = head.getAttribute("aria-sort") !== "ascending";
  const body = table.tBodies[0];
  const text = (row) => row.cells[column].textContent.trim();
  const rows = [...body.rows].sort((one, other) => {
    const [a, b] = [text(one), text(other)];
    if (!a !== !b) return a ? -1 : 1; // what is empty comes last, whichever way
    return a.localeCompare(b, "en", { numeric: true }) * (upwards ? 1 : -1);
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
  body.append(...rows);
}

function equip(table) {
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const controls = document.createElement("form");
  controls.className = "controls";
  controls.addEventListener("submit", (event) => event.preventDefault());
  const count = document.createElement("output");

  function control(name, field) {
    const label = document.createElement("label");
    label.append(name, field);
    controls.append(label);
    field.addEventListener("input", show);
    return field;
  }

  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "any word";
  control("find", field);
  const lists = heads.map((head, column) => {
    const found = [...new Set(rows.flatMap((row) => items(row.cells[column])))].sort();
    if (!column || found.length < 2 || found.length > MOST) return null; // the first column is names
    const list = document.createElement("select");
    list.append(new Option("any", ""), ...found.map((item) => new Option(item)));
    return control(head.textContent.trim(), list);
  });

  function show() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const chosen = lists.every((list, column) => !list?.value || items(row.cells[column]).includes(list.value));
      row.hidden = !(chosen && words.every((word) => text.includes(word)));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length}`;
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(table, column, head));
    head.append(button);
  });
  controls.append(count);
  show();
  (table.closest(".table-wrapper") ?? table).before(controls);
}

addEventListener("DOMContentLoaded", () => document.querySelectorAll(".sorted table").forEach(equip));
