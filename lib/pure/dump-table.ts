/** One table's part of a database's dump, found as the dump goes by. */

/**
 * Makes the function that says of each line of a dump whether it is the table's. Knows the comments
 * that mariadb-dump, mysqldump and pg_dump write before each part, and the statements of SQLite.
 * @param table its name; of PostgreSQL with or without its schema
 */
export function tableFilter(table: string): (line: string) => boolean {
  const plain = table.slice(table.lastIndexOf('.') + 1);
  const schema = table.includes('.') ? table.slice(0, table.lastIndexOf('.')) : undefined;
  const quoted = String.raw`["\`]?${plain.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)}["\`]?`;
  const sqlite = new RegExp(String.raw`^(CREATE TABLE( IF NOT EXISTS)? |INSERT INTO )${quoted}[ (]`);
  let inside = false;
  let statement = false;
  return (line) => {
    const mysql = /^-- (?:Table structure|Dumping data) for table `(.+)`$/.exec(line);
    const postgres = /^-- (?:Data for )?Name: (?:TABLE )?(.+?); Type: ([A-Z ]+); Schema: ([^;]+);/.exec(line);
    if (mysql) inside = mysql[1] === plain;
    else if (postgres) inside = ['TABLE', 'TABLE DATA'].includes(postgres[2] ?? '') && postgres[1] === plain && (schema === undefined || postgres[3] === schema);
    else if (/^-- (Dumping (routines|events)|Temporary (view|table) structure|Final view|Current Database|Dump completed|Name: )/.test(line)) inside = false;
    if (inside) return true;
    // Without such comments a statement goes on to the line that ends with its semicolon.
    if (sqlite.test(line)) statement = true;
    const belongs = statement;
    if (statement && line.trimEnd().endsWith(';')) statement = false;
    return belongs;
  };
}
