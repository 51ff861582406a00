import * as z from 'zod';
import { isCheckId } from './doctor/checks.ts';
import { text } from './schema-values.ts';

/** `doctor:` of `sitegen.yaml` and of a site; see schema.ts for what it is part of. */
export const doctorFields = z.strictObject({
  ignore: z.record(
    z.string().refine(isCheckId, 'is no check: "sitegen doctor" prints their ids'),
    text().min(1, 'needs a reason'),
  ).describe('findings that one lives with: a reason by the id of the check'),
}).partial();
