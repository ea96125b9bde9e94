"""The page, figures and tables on what measures of image quality are worth."""
