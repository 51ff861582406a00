import * as z from 'zod';
import { text } from './schema-values.ts';

/** What an app says beside what a site may say too; see schema.ts for what this is part of. */

/** The form of app.yaml that is written now; app-migrations.ts knows those before. */
export const appSchemaNumber = 1;

const secret = z.strictObject({
  secret: z.int().min(12).max(128).describe('length of a random value that is made for each site, once'),
});

const plain = z.union([z.string(), z.number(), z.boolean()]).transform(String).refine((value) => !value.includes('\0'), 'must not contain a zero byte');

/** Environment of an app's containers: fixed, with `${domain}`, `${url}` or the name of a secret in it, or made for each site. */
export const appEnv = z.record(
  z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not a variable\'s name: use letters, digits and _'),
  z.union([plain, secret], 'is not a value: write text, a number, true or false, or {secret: 24} for one that is made for each site'),
);

export const appFields = {
  schema: z.literal(appSchemaNumber).describe('form of this file').optional(),
  description: text().describe('one line for the list of apps'),
  tested: z.boolean().describe('true: sitegen\'s own tests run it with the real image').optional(),
  warning: text().describe('one line that is shown when the app is listed and added').optional(),
  upstream: z.url({ protocol: /^https$/, error: 'is not a URL: write https://…' }).describe('where the image and its interface are documented').optional(),
  notes: z.string().max(4000).describe('what to tell whoever has added a site; ${domain} and ${url} stand for the site\'s').optional(),
  size: text().describe('about how much the image takes on the disk, such as 700M').optional(),
};

export type AppEnv = z.output<typeof appEnv>;
