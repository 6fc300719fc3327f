//! Columns on a terminal.

/// Rows under a header, each column as wide as it must be. Cells may hold what a peer sent: nothing in
/// them acts on the terminal.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.clone().map(|cell| plain(&cell))).collect();
    let mut widths = header.map(|cell| cell.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_string()
    };
    let mut lines = vec![line(&header.map(str::to_string))];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

/// Text without control characters, and not too long.
fn plain(text: &str) -> String {
    let shown = text.chars().map(|c| if c.is_control() { '?' } else { c });
    shown.take(48).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_acts_on_the_terminal() {
        let rows = [["c1".into(), "\u{1b}[2JÄnne".into()], ["c12345".into(), String::new()]];
        assert_eq!(table(["CALL", "FROM"], &rows), "CALL    FROM\nc1      ?[2JÄnne\nc12345");
    }
}
