import { isPair, splitPair } from './certificate.ts';

/** A file of a folder; the folder's are given with the latest first. */
export interface FolderFile {
  name: string;
  content: string;
}

/** What somebody means by the files in a certificate's folder. */
export interface Drop {
  chain: string;
  key: string;
  /** The files that it was made of. */
  files: readonly string[];
}

const ending = String.raw`\.(pem|crt|cer)$`;
const full = new RegExp(`^(fullchain|bundle)${ending}`);
const rest = new RegExp(`^(ca|chain|ca-bundle|cabundle|intermediates?)${ending}`);
const single = new RegExp(`^(cert|certificate)${ending}`);
const keys = /^((key|privkey|private)\.(pem|key)|cert\.key|certificate\.key)$/;

/**
 * The certificate that a folder's files make: fullchain and key, or cert, key and ca. Where there
 * are several the latest is meant, with the key that belongs to it, or else the latest key.
 * @param files the latest first; others than certificates and keys do not count
 * @param domain files may also be called after it, as `example.com.crt`
 * @returns undefined when there is neither certificate nor key
 */
export function readDrop(files: readonly FolderFile[], domain: string): Drop | undefined {
  const named = (name: string, extensions: readonly string[]) => extensions.some((extension) => name === `${domain}.${extension}`);
  const isCertificate = ({ name }: FolderFile) => full.test(name) || single.test(name) || named(name, ['crt', 'pem', 'cer']);
  const isKey = ({ name }: FolderFile) => keys.test(name) || named(name, ['key']);
  const certificate = files.find(isCertificate);
  const candidates = files.filter(isKey);
  const key = certificate && (candidates.find(({ content }) => isPair({ chain: certificate.content, key: content })) ?? candidates[0]);
  if (!certificate && candidates.length === 0) return undefined;
  const parts = certificate === undefined || full.test(certificate.name) ? [] : files.filter(({ name }) => rest.test(name)).slice(0, 1);
  return {
    chain: [certificate, ...parts].map((file) => file?.content.trim() ?? '').join('\n'),
    key: (key ?? candidates[0])?.content ?? '',
    files: [certificate, ...parts, key].flatMap((file) => (file ? [file.name] : [])),
  };
}

/** Whether a drop is not complete yet, as the files of a copy come one after the other. */
export function isPartial(drop: Drop): boolean {
  return !isPair(drop);
}

/** Chain and key of a drop without what stands around them. */
export function pairOf(drop: Drop): { chain: string; key: string } {
  return { chain: splitPair(drop.chain).chain, key: splitPair(drop.key).key };
}
