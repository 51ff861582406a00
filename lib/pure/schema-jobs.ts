import * as z from 'zod';
import { calendarFault, jobName } from './jobs.ts';
import { argv } from './schema-backup.ts';
import { serviceField } from './compose/schema.ts';
import { span, text } from './schema-values.ts';

/** Settings about work without visitors; see schema.ts for what they are part of. */

const calendar = () => text().superRefine((value, context) => {
  const fault = calendarFault(value);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: `is not a time: ${fault}; write for example *:0/15, daily or Mon 03:30` });
});

const job = z.strictObject({
  calendar: calendar().describe('when it runs, as in systemd.time(7)'),
  command: argv().describe('program and arguments, run in the container without a shell'),
  service: serviceField('it runs in'),
  user: text().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,40})?$/, 'is not a user: write a name or a number, or user:group')
    .describe('user of the container that it runs as; the container\'s own unless given').optional(),
  timeout: span().describe('how long it may take until it is killed; 10min unless given').optional(),
  persistent: z.boolean().describe('false: a run that was missed, as the machine was off, is not caught up').optional(),
  delay: span().describe('over which time the runs of different sites are spread; 1min unless given').optional(),
});

export const jobFields = z.record(
  z.string().regex(jobName, 'is not the name of a job: use up to 31 small letters, digits and hyphens'),
  z.union([z.literal(false), job]),
);
