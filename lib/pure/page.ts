/** The page that a visitor gets while a site cannot wake. Says no more than a stranger may know. */
export function unavailablePage(domain: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(domain)} is not available</title>
<style>
  body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1rem; color: #222; background: #fafaf7; }
  h1 { font-size: 1.6rem; }
</style>
<h1>${escapeHtml(domain)} could not be started</h1>
<p>The site did not answer in time. Please try again in a moment; the next visit starts it anew.</p>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
