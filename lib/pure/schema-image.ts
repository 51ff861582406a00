import * as z from 'zod';
import { text } from './schema-values.ts';

/** Where a container's image comes from; see schema.ts for what this is part of. */

const reference = () => text().regex(/^[a-z0-9][a-z0-9._/:@-]*$/i, 'is not an image: write name, name:tag or name@sha256:…');
const contextName = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}$/, 'is not a file name: use letters, digits, "_", "-" and "."');

const ways = ['pull', 'build', 'tar'] as const;

const settings = z.strictObject({
  pull: reference().describe('image of a registry'),
  build: text().regex(/^(\.|\/.*)$/, 'is not a folder: write an absolute path; in an app also "." for its own folder').describe('folder with a Dockerfile that the image is built from'),
  base: reference().describe('image that the Dockerfile begins with: its ARG BASE'),
  hostFiles: z.record(contextName, z.string().startsWith('/', 'is not an absolute path'))
    .describe('files of the host that the Dockerfile needs: name beside it, and path on the host'),
  tar: text().regex(/^\//, 'is not an absolute path').describe('file with the image, as "docker save" writes it'),
  name: reference().describe('name that the image has in that file'),
}).partial().superRefine((value, context) => {
  const given = ways.filter((way) => value[way] !== undefined);
  if (given.length !== 1) context.addIssue({ code: 'custom', message: given.length === 0 ? 'needs one of pull, build and tar' : `has both ${given.join(' and ')}: keep one` });
  for (const key of ['base', 'hostFiles'] as const) if (value[key] !== undefined && value.build === undefined) context.addIssue({ code: 'custom', path: [key], message: 'belongs to build: take it out' });
  if ((value.tar === undefined) !== (value.name === undefined)) context.addIssue({ code: 'custom', message: 'needs tar and name together' });
});

/** `image:` of a site and of an app; a text is the image to pull. */
export const image = () => z.union([reference(), settings], 'is not an image: write its name, or pull, build or tar with what belongs to it');

/** What a site alone may say of its image. */
export const siteImageFields = {
  pin: text().regex(/^(sha256:[0-9a-f]{64}|[0-9]{14})$/, 'is not a version: sitegen image update writes it')
    .describe('version of the image that the site has, whatever its name stands for by now; "sitegen image update" writes it').optional(),
  update: z.enum(['auto', 'report'], 'is neither auto nor report').describe('auto: a newer image is taken by itself; report unless given: it is only told').optional(),
};

export type ImageSettings = z.output<typeof settings>;

/** The one form that both notations of an image have. */
export function imageSettings(image: string | ImageSettings): ImageSettings {
  return typeof image === 'string' ? { pull: image } : image;
}
