import { appSchemaNumber } from './schema-app.ts';

/** Brings app.yaml from the forms that it once had into the one of now; an admin's own apps may have any. */

type Document = Readonly<Record<string, unknown>>;

/** What makes each form of the one before it; a file without a number has form 0. */
const migrations: readonly ((document: Document) => Document)[] = [
  // Form 0 had `build:` beside `image:`, always of the app's own folder.
  ({ build, ...rest }) => (build === undefined ? rest : { ...rest, image: { build: '.', ...(isDocument(build) ? build : {}) } }),
];

/**
 * The same definition in the form of now.
 * @returns the definition, and where in the file something of it is written; a fault when the number is none, or is of a newer sitegen
 */
export function migrateApp(value: unknown): { value: unknown; written?: (path: readonly PropertyKey[]) => PropertyKey[] } | { fault: { path: string[]; message: string } } {
  if (!isDocument(value)) return { value };
  const number = value['schema'] ?? 0;
  const fault = (message: string) => ({ fault: { path: ['schema'], message } });
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0) return fault('is not the number of a form; leave it out, or write the current one');
  if (number > appSchemaNumber) return fault(`${number} is of a newer sitegen; this one knows forms up to ${appSchemaNumber}`);
  // Both in one file: of two forms, so the schema is to refuse it.
  if (number === 0 && value['build'] !== undefined && value['image'] !== undefined) return { fault: { path: ['build'], message: 'stands beside image: keep one' } };
  const written = (path: readonly PropertyKey[]) => (number === 0 && value['build'] !== undefined && path[0] === 'image' ? ['build', ...path.slice(1)] : [...path]);
  return { written, value: { ...migrations.slice(number).reduce((document, migrate) => migrate(document), value), schema: appSchemaNumber } };
}

function isDocument(value: unknown): value is Document {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
